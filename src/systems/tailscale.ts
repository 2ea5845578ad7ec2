import { execa } from 'execa'
import { parse } from 'jsonc-parser'
import { z } from 'zod'
import { messageOf, OnehopError } from '../errors.ts'
import { readCredential } from './credentials.ts'

/**
 * Tailscale: its REST API (with onehop's own OAuth client, never the operator's) and this machine's tailscaled.
 *
 * @throws OnehopError tailscale-unreachable, tailscale-refused, tailscaled-unreachable, credentials-missing
 */
export function createTailscale({ api, cli, credentials }: Options) {
  let token: { value: string; until: number } | undefined

  async function request(action: string, path: string, init: RequestInit = {}): Promise<Response> {
    const response = await fetch(new URL(path, api), { ...init, signal: AbortSignal.timeout(10_000) }).catch(
      (thrown: unknown) => {
        throw new OnehopError(
          'tailscale-unreachable',
          { url: api, message: messageOf(thrown) },
          { cause: thrown },
        )
      },
    )
    if (response.ok) return response
    const { status } = response
    const message = (await response.text()).slice(0, 300)
    if (status === 429 || status >= 500)
      throw new OnehopError('tailscale-unreachable', { url: api, message: `${status} ${message}` })
    throw new OnehopError('tailscale-refused', { action, status, message })
  }

  async function authorized(
    action: string,
    path: string,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    if (!token || token.until < Date.now()) {
      const [id, secret] = await Promise.all([
        readCredential(credentials.clientIdFile),
        readCredential(credentials.clientSecretFile),
      ])
      const answer = await request('a token for our OAuth client', '/api/v2/oauth/token', {
        method: 'POST',
        headers: { authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` },
        body: new URLSearchParams({ grant_type: 'client_credentials' }),
      })
      const { access_token, expires_in } = tokenSchema.parse(await answer.json())
      token = { value: access_token, until: Date.now() + (expires_in - 60) * 1000 }
    }
    return request(action, path, { headers: { ...headers, authorization: `Bearer ${token.value}` } })
  }

  return {
    /** Every device of the tailnet; `name` is the full DNS name, `online` whether it is connected to the control server. */
    async devices(): Promise<Device[]> {
      const answer = await authorized('listing devices', '/api/v2/tailnet/-/devices?fields=all')
      return devicesSchema.parse(await answer.json()).devices.map((each) => ({
        id: each.nodeId,
        name: each.name.replace(/\.$/, ''),
        hostname: each.hostname,
        addresses: each.addresses,
        tags: each.tags ?? [],
        online: each.connectedToControl ?? each.lastSeen === undefined,
        lastSeen: each.lastSeen ?? 'now',
      }))
    },
    /** Who may use each tag, from the policy file (HuJSON). */
    async tagOwners(): Promise<Record<string, string[]>> {
      const answer = await authorized('reading the policy', '/api/v2/tailnet/-/acl', {
        accept: 'application/hujson',
      })
      const policy = parse(await answer.text()) as { tagOwners?: Record<string, string[]> } | undefined
      return policy?.tagOwners ?? {}
    },
    /** What this machine's own tailscaled knows: peers by DNS name, and whether it knows a way to each. */
    async peers(): Promise<Record<string, Peer>> {
      const { stdout } = await execa(cli, ['status', '--json'], { timeout: 5000 }).catch(
        (thrown: unknown) => {
          throw new OnehopError(
            'tailscaled-unreachable',
            { message: messageOf(thrown).split('\n')[0] ?? '' },
            { cause: thrown },
          )
        },
      )
      const { Peer } = statusSchema.parse(JSON.parse(stdout))
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

export type Device = {
  id: string
  name: string
  hostname: string
  addresses: string[]
  tags: string[]
  online: boolean
  lastSeen: string
}
export type Peer = { addresses: string[]; reachable: boolean; direct: boolean }
type Options = { api: string; cli: string; credentials: { clientIdFile: string; clientSecretFile: string } }

const tokenSchema = z.object({ access_token: z.string(), expires_in: z.number().default(3600) })
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
    }),
  ),
})
const statusSchema = z.object({
  Peer: z
    .record(
      z.string(),
      z.object({
        DNSName: z.string(),
        TailscaleIPs: z.array(z.string()).nullish(),
        Relay: z.string().nullish(),
        CurAddr: z.string().nullish(),
      }),
    )
    .nullish(),
})
