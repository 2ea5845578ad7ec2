import { z } from 'zod'
import { messageOf, OnehopError } from '../errors.ts'
import { readClient, readCredential } from './credentials.ts'
import { callHttp, type HttpAnswer, type HttpCall } from './http-call.ts'
import { runProgram } from './run-program.ts'

/**
 * Tailscale: its REST API, as the OAuth client of `credentials` (onehop's own; the operator's only for what the operator
 * does itself), and this machine's tailscaled.
 *
 * @throws OnehopError tailscale-unreachable, tailscale-refused, tailscaled-unreachable, credentials-missing, policy-*
 */
export function createTailscale({ api, cli, credentials }: Options) {
  let token: { value: string; until: number } | undefined

  /** `expected`: statuses besides success that are an answer to this question and not an error. */
  async function request(
    action: string,
    path: string,
    { expected = [], ...init }: Init = {},
  ): Promise<HttpAnswer> {
    const answer = await callHttp(new URL(path, api), init).catch((thrown: unknown) => {
      throw new OnehopError(
        'tailscale-unreachable',
        { url: api, message: messageOf(thrown) },
        { cause: thrown },
      )
    })
    if (answer.ok || expected.includes(answer.status)) return answer
    const { status } = answer
    const message = answer.text.slice(0, 300)
    if (status === 429 || status >= 500)
      throw new OnehopError('tailscale-unreachable', { url: api, message: `${status} ${message}` })
    throw new OnehopError('tailscale-refused', { action, status, message })
  }

  async function bearer(): Promise<string> {
    if (!token || token.until < Date.now()) {
      const { id, secret } = await readClient(credentials)
      const answer = await request('a token for our OAuth client', '/api/v2/oauth/token', {
        method: 'POST',
        headers: {
          authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
          'content-type': 'application/x-www-form-urlencoded;charset=UTF-8',
        },
        body: 'grant_type=client_credentials',
      })
      const { access_token, expires_in } = tokenSchema.parse(JSON.parse(answer.text))
      token = { value: access_token, until: Date.now() + (expires_in - 60) * 1000 }
    }
    return token.value
  }

  async function authorized(action: string, path: string, init: Init = {}): Promise<HttpAnswer> {
    const headers = { ...init.headers, authorization: `Bearer ${await bearer()}` }
    return request(action, path, { ...init, headers })
  }

  /** The policy file as it is, byte order mark included, and the quoted tag of this version. */
  async function readPolicy(): Promise<PolicyFile> {
    const action = 'reading the policy'
    const answer = await authorized(action, policyPath, { headers: { accept: 'application/hujson' } })
    const { status, headers, text } = answer
    if (!headers.etag) throw new OnehopError('tailscale-refused', { action, status, message: 'no ETag' })
    return { text, etag: headers.etag }
  }

  /** @throws OnehopError policy-managed-elsewhere */
  async function refuseManagedElsewhere(): Promise<void> {
    // Our client may not be allowed to read the settings, and Headscale has none.
    const settings = await authorized('reading the settings', '/api/v2/tailnet/-/settings', {
      expected: [403, 404],
    })
    if (!settings.ok) return
    const { aclsExternallyManagedOn, aclsExternalLink } = settingsSchema.parse(JSON.parse(settings.text))
    if (aclsExternallyManagedOn)
      throw new OnehopError('policy-managed-elsewhere', { link: aclsExternalLink || 'no link is given' })
  }

  return {
    refuseManagedElsewhere,
    /** Every device of the tailnet; `name` is the full DNS name, `online` whether it is connected to the control server. */
    async devices(): Promise<Device[]> {
      const answer = await authorized('listing devices', '/api/v2/tailnet/-/devices?fields=all')
      return devicesSchema.parse(JSON.parse(answer.text)).devices.map((each) => ({
        id: each.nodeId,
        name: each.name.replace(/\.$/, ''),
        hostname: each.hostname,
        addresses: each.addresses,
        tags: each.tags ?? [],
        online: each.connectedToControl ?? each.lastSeen === undefined,
        lastSeen: each.lastSeen ?? 'now',
        ...(each.enabledRoutes && each.enabledRoutes.length > 0 && { routes: each.enabledRoutes }),
      }))
    },
    /** Which OAuth client this is. It is no secret, unlike what goes with it. */
    clientId: () => readCredential(credentials.clientIdFile),
    policy: readPolicy,
    /** Gets a token, if there is none. @throws OnehopError tailscale-refused, if the client is not known or its secret wrong */
    async signIn(): Promise<void> {
      await bearer()
    },
    /**
     * Makes a key for one login of a device with these tags and deletes it again. If it may not be deleted it expires after
     * five minutes. The key itself is not even read.
     *
     * @throws OnehopError tailscale-refused, if the client may not make it
     */
    async tryKey(tags: string[]): Promise<void> {
      const create = { reusable: false, ephemeral: true, preauthorized: false, tags }
      const made = await authorized('making a key', '/api/v2/tailnet/-/keys', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          capabilities: { devices: { create } },
          expirySeconds: 300,
          description: 'onehop preflight',
        }),
      })
      const { id } = keySchema.parse(JSON.parse(made.text))
      await authorized('deleting that key', `/api/v2/tailnet/-/keys/${encodeURIComponent(id)}`, {
        method: 'DELETE',
        expected: [400, 403, 404],
      })
    },
    /** Deletes a device; one that is not there is no failure. @throws OnehopError tailscale-refused, if the client may not */
    async deleteDevice(id: string): Promise<void> {
      await authorized(`deleting device ${id}`, `/api/v2/device/${encodeURIComponent(id)}`, {
        method: 'DELETE',
        expected: [404],
      })
    },
    /**
     * Puts a policy in the place of the one with that `etag`, if Tailscale finds it good and its tests pass.
     *
     * @throws OnehopError policy-managed-elsewhere, policy-test-failed, policy-stale (read it again); nothing was written
     */
    async setPolicy({ text, etag }: PolicyFile): Promise<void> {
      await refuseManagedElsewhere()
      const headers = { 'content-type': 'application/hujson', accept: 'application/hujson' }
      const init = { method: 'POST', headers, body: text }
      const judged = await authorized('checking the policy', `${policyPath}/validate`, {
        ...init,
        headers: { ...headers, accept: 'application/json' },
        expected: [400],
      })
      // A policy that fails is a success with a message in it; one that only draws warnings is as well.
      const { message, data } = verdictSchema.parse(jsonOr(judged.text, {}))
      const isOnlyWarned = data?.length && data.every((each) => !each.errors?.length && each.warnings?.length)
      if (!judged.ok || (message && !isOnlyWarned))
        throw new OnehopError('policy-test-failed', {
          message: message || `status ${judged.status}`,
          data: JSON.stringify(data ?? []).slice(0, 1000),
        })
      const written = await authorized('writing the policy', policyPath, {
        ...init,
        headers: { ...headers, 'if-match': etag },
        expected: [412],
      })
      if (written.status === 412) throw new OnehopError('policy-stale')
    },
    /** What this machine's own tailscaled knows: peers by DNS name, and whether it knows a way to each. */
    async peers(): Promise<Record<string, Peer>> {
      const { Peer } = await tailscaledStatus(cli)
      return Object.fromEntries(
        Object.values(Peer ?? {}).map((each) => [
          each.DNSName.replace(/\.$/, ''),
          {
            addresses: each.TailscaleIPs ?? [],
            reachable: Boolean(each.Relay || each.CurAddr),
            direct: Boolean(each.CurAddr),
          },
        ]),
      )
    },
  }
}

/**
 * The tailnet as this machine's tailscaled sees it, without a credential: its DNS name, this machine, and the other members.
 * What is only shared in from another tailnet, and exit nodes that are rented, are none.
 *
 * @throws OnehopError tailscaled-unreachable, also where it is not logged in
 */
export async function readTailnet(cli: string): Promise<LocalTailnet> {
  const { CurrentTailnet, Self, Peer, BackendState = 'unknown' } = await tailscaledStatus(cli)
  const name = dnsName(CurrentTailnet?.MagicDNSSuffix ?? '')
  if (!name || !Self)
    throw new OnehopError('tailscaled-unreachable', { message: `it is on no tailnet (${BackendState})` })
  const memberOf = ({ DNSName, TailscaleIPs, Tags }: z.output<typeof nodeSchema>): Member[] => {
    const [label = '', ...suffix] = dnsName(DNSName).split('.')
    return suffix.join('.') === name ? [{ name: label, addresses: TailscaleIPs ?? [], tags: Tags ?? [] }] : []
  }
  const [self] = memberOf(Self)
  return { name, ...(self && { self }), members: Object.values(Peer ?? {}).flatMap(memberOf) }
}

const dnsName = (written: string) => written.toLowerCase().replace(/\.$/, '')

export type Member = { name: string; addresses: string[]; tags: string[] }
export type LocalTailnet = { name: string; self?: Member; members: Member[] }

async function tailscaledStatus(cli: string): Promise<z.output<typeof statusSchema>> {
  const unreachable = (message: string, cause?: unknown) =>
    new OnehopError('tailscaled-unreachable', { message: message.split('\n')[0] ?? '' }, { cause })
  const { failed, stdout, message } = await runProgram(cli, ['status', '--json'], { deadline: 5000 }).catch(
    (thrown: unknown) => {
      throw unreachable(`${cli} status: ${messageOf(thrown)}`, thrown)
    },
  )
  if (failed) throw unreachable(message)
  return statusSchema.parse(JSON.parse(stdout))
}

function jsonOr(text: string, other: unknown): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return other
  }
}

export type Device = {
  id: string
  name: string
  hostname: string
  addresses: string[]
  tags: string[]
  online: boolean
  lastSeen: string
  /** Subnets that it leads to, only where there are any. */
  routes?: string[]
}
export type PolicyFile = { text: string; etag: string }
export type Peer = { addresses: string[]; reachable: boolean; direct: boolean }
type Options = { api: string; cli: string; credentials: { clientIdFile: string; clientSecretFile: string } }
type Init = HttpCall & { expected?: number[] }

const policyPath = '/api/v2/tailnet/-/acl'
const settingsSchema = z.object({
  aclsExternallyManagedOn: z.boolean().nullish(),
  aclsExternalLink: z.string().nullish(),
})
const complaints = z.array(z.string()).nullish()
const verdictSchema = z.object({
  message: z.string().nullish(),
  data: z.array(z.looseObject({ errors: complaints, warnings: complaints })).nullish(),
})
const tokenSchema = z.object({ access_token: z.string(), expires_in: z.number().default(3600) })
const keySchema = z.object({ id: z.string() })
const devicesSchema = z.object({
  devices: z.array(
    z.object({
      nodeId: z.string(),
      name: z.string(),
      hostname: z.string(),
      addresses: z.array(z.string()),
      tags: z.array(z.string()).nullish(),
      connectedToControl: z.boolean().optional(),
      lastSeen: z.string().optional(),
      enabledRoutes: z.array(z.string()).nullish(),
    }),
  ),
})
const nodeSchema = z.object({
  DNSName: z.string(),
  TailscaleIPs: z.array(z.string()).nullish(),
  Tags: z.array(z.string()).nullish(),
  Relay: z.string().nullish(),
  CurAddr: z.string().nullish(),
})
const statusSchema = z.object({
  BackendState: z.string().optional(),
  CurrentTailnet: z.object({ MagicDNSSuffix: z.string().optional() }).nullish(),
  Self: nodeSchema.nullish(),
  Peer: z.record(z.string(), nodeSchema).nullish(),
})
