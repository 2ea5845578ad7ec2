// A stand-in for the hosted part of Tailscale only: its REST API. Keys, devices, tags and the policy are Headscale's
// own. It is the front of the control server too, because clients expect both at one address, and it ends TLS for the relay.
import { createHash, createHmac, randomBytes } from 'node:crypto'
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { forHeadscale, inUserWords, ownersOf } from './policy.ts'

type Setup = {
  folder: string
  apiKey: string
  tailnet: string
  headscale: string
  clients: Record<string, { id: string; secret: string }>
  policyFile: string
}
type Answer = { status: number; body?: unknown; text?: string; headers?: Record<string, string> }
type Node = {
  id: string
  name: string
  givenName: string
  ipAddresses: string[]
  tags: string[]
  online: boolean
  lastSeen: string
  createdAt: string
  expiry: string | null
  preAuthKey?: { ephemeral: boolean }
}

const setup: Setup = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'))
const keys = new Map<string, { id: string; description: string }>()

const onRequest = (incoming: IncomingMessage, outgoing: ServerResponse) => {
  if (incoming.url?.startsWith('/api/v2/')) answerApi(incoming, outgoing)
  else forward(incoming, outgoing)
}
createServer(onRequest).on('upgrade', tunnel).listen(8080, '10.88.0.254')
const tls = (name: string) => readFileSync(join(setup.folder, 'certs', name))
createTlsServer({ key: tls('router.key'), cert: tls('router.crt') }, forward)
  .on('upgrade', tunnel)
  .listen(8443, '10.88.0.254')

async function answerApi(incoming: IncomingMessage, outgoing: ServerResponse) {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk)
  const body = Buffer.concat(chunks)
  const path = new URL(incoming.url ?? '', 'http://stand-in').pathname.slice('/api/v2'.length)
  const client = clientOf(/^Bearer (.+)$/.exec(incoming.headers.authorization ?? '')?.[1] ?? '')
  let answer: Answer
  let who = client
  try {
    if (path === '/oauth/token') {
      const granted = grantToken(incoming, body)
      who = granted.who
      answer = granted.answer
    } else if (!client) answer = failure(401, 'API token invalid')
    else answer = await route({ client, method: incoming.method ?? '', path, body, incoming })
  } catch (error) {
    answer = failure(500, String(error))
  }
  const time = new Date().toISOString()
  const line = {
    time,
    client: who ?? null,
    method: incoming.method,
    path: `/api/v2${path}`,
    status: answer.status,
  }
  appendFileSync(join(setup.folder, 'logs', 'tailscale-api.jsonl'), `${JSON.stringify(line)}\n`)
  const text = answer.text ?? JSON.stringify(answer.body ?? null)
  outgoing.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers }).end(text)
}

/** Client and secret come by Basic authentication (tried first by Go's library) or in the form. */
function grantToken(incoming: IncomingMessage, body: Buffer): { who: string | undefined; answer: Answer } {
  const form = new URLSearchParams(body.toString())
  const basic = Buffer.from(
    /^Basic (.+)$/.exec(incoming.headers.authorization ?? '')?.[1] ?? '',
    'base64',
  ).toString()
  const [basicId = '', basicSecret = ''] = basic.split(':').map(decodeURIComponent)
  const id = basicId || form.get('client_id')
  const secret = basicSecret || form.get('client_secret')
  const found = Object.entries(setup.clients).find(([, client]) => client.id === id)
  if (!found || found[1].secret !== secret)
    return { who: found?.[0], answer: failure(401, 'API token invalid') }
  const granted = {
    access_token: tokenFor(found[0], randomBytes(12).toString('hex')),
    token_type: 'Bearer',
    expires_in: 3600,
    scope: 'all',
  }
  return { who: found[0], answer: { status: 200, body: granted } }
}

/** Signed instead of kept: a token outlives this process, as the operator keeps its own for an hour. */
const tokenFor = (client: string, nonce: string) =>
  `tskey-api-${nonce}${createHmac('sha256', setup.apiKey).update(`${client} ${nonce}`).digest('hex')}`

const clientOf = (token: string) =>
  Object.keys(setup.clients).find(
    (client) => tokenFor(client, token.slice('tskey-api-'.length, -64)) === token,
  )

type Call = { client: string; method: string; path: string; body: Buffer; incoming: IncomingMessage }

async function route(call: Call): Promise<Answer> {
  const { method, path } = call
  const tailnet = /^\/tailnet\/[^/]+(\/.*)$/.exec(path)?.[1]
  const key = /^\/keys\/(.+)$/.exec(tailnet ?? '')?.[1]
  const device = /^\/device\/([^/]+)$/.exec(path)?.[1]
  if (tailnet === '/keys' && method === 'POST') return createKey(call)
  if (tailnet === '/keys' && method === 'GET') return { status: 200, body: { keys: [...keys.values()] } }
  if (key && method === 'GET')
    return keys.has(key) ? { status: 200, body: keys.get(key) } : failure(404, 'key not found')
  if (key && method === 'DELETE') return keys.delete(key) ? { status: 200 } : failure(404, 'key not found')
  if (tailnet === '/devices' && method === 'GET') return { status: 200, body: { devices: await devices() } }
  if (device && method === 'GET') {
    const found = (await devices()).find((each) => each.nodeId === device)
    return found ? { status: 200, body: found } : failure(404, `device ${device} not found`)
  }
  if (device && method === 'DELETE') {
    const { status } = await headscale('DELETE', `/api/v1/node/${encodeURIComponent(device)}`)
    return status === 200 ? { status: 200 } : failure(404, `device ${device} not found`)
  }
  if (tailnet === '/acl' && method === 'GET') return readPolicy(call.incoming)
  if (tailnet === '/acl' && method === 'POST') return writePolicy(call)
  if (tailnet === '/acl/validate' && method === 'POST') return validatePolicy(call.body)
  if (tailnet === '/settings' && method === 'GET')
    return { status: 200, body: { aclsExternallyManagedOn: false, aclsExternalLink: '' } }
  if (tailnet === '/dns/preferences' && method === 'GET') return { status: 200, body: { magicDNS: true } }
  return failure(404, `the stand-in does not know ${method} ${path}`)
}

/** Headscale would make a key with any tag; Tailscale makes one with the client's own tag, and with tags that this one owns. */
async function createKey({ client, body }: Call): Promise<Answer> {
  const wanted = JSON.parse(body.toString())
  const create = wanted.capabilities?.devices?.create ?? {}
  const own = client === 'operator' ? 'tag:k8s-operator' : undefined
  const mayGive = (tag: string) => {
    const owners = ownersOf(policyBytes().toString(), tag)
    return own !== undefined && owners !== undefined && (tag === own || owners.includes(own))
  }
  const tags: string[] = create.tags ?? []
  if (tags.length === 0 || !tags.every(mayGive))
    return failure(400, `requested tags [${tags.join(' ')}] are invalid or not permitted`)
  const seconds = wanted.expirySeconds || 90 * 24 * 3600
  const { status, data } = await headscale('POST', '/api/v1/preauthkey', {
    ...{
      user: '1',
      reusable: create.reusable ?? false,
      ephemeral: create.ephemeral ?? false,
      aclTags: tags,
    },
    expiration: new Date(Date.now() + seconds * 1000).toISOString(),
  })
  if (status !== 200)
    return failure(400, String(data.message ?? 'requested tags are invalid or not permitted'))
  const made = data.preAuthKey as { id: string; key: string }
  const key = {
    id: `k${made.id}`,
    description: String(wanted.description ?? ''),
    capabilities: wanted.capabilities,
  }
  keys.set(key.id, key)
  return { status: 200, body: { ...key, key: made.key } }
}

async function devices() {
  const { data } = await headscale('GET', '/api/v1/node')
  return ((data.nodes ?? []) as Node[]).map((node) => ({
    nodeId: node.id,
    id: node.id,
    name: `${node.givenName}.${setup.tailnet}`,
    hostname: node.name,
    addresses: node.ipAddresses,
    tags: node.tags.length > 0 ? node.tags : undefined,
    user: node.tags.length > 0 ? 'tagged-devices' : 'joel@',
    authorized: true,
    // Tailscale leaves lastSeen out while the device is connected.
    lastSeen: node.online ? undefined : node.lastSeen,
    connectedToControl: node.online,
    created: node.createdAt,
    keyExpiryDisabled: !node.expiry || node.tags.length > 0,
    isEphemeral: node.preAuthKey?.ephemeral ?? false,
  }))
}

const policyBytes = () => readFileSync(setup.policyFile)
const etag = () => `"${createHash('sha256').update(policyBytes()).digest('hex')}"`

function readPolicy(incoming: IncomingMessage): Answer {
  const headers = { etag: etag(), 'content-type': 'application/hujson' }
  if (incoming.headers.accept === 'application/hujson')
    return { status: 200, text: policyBytes().toString(), headers }
  return failure(400, 'the stand-in only answers Accept: application/hujson')
}

async function writePolicy({ body, incoming }: Call): Promise<Answer> {
  const expected = incoming.headers['if-match']
  if (expected && expected !== etag()) return failure(412, 'precondition failed, invalid old hash')
  const verdict = await judge(body.toString())
  if ('problem' in verdict) return failure(400, verdict.problem)
  const { status, data } = await headscale('PUT', '/api/v1/policy', { policy: verdict.keep })
  if (status !== 200) return failure(400, String(data.message))
  writeFileSync(setup.policyFile, body)
  return {
    status: 200,
    text: body.toString(),
    headers: { etag: etag(), 'content-type': 'application/hujson' },
  }
}

/** Like Tailscale's: a policy that fails is an answer of 200 with a message in it. */
async function validatePolicy(body: Buffer): Promise<Answer> {
  const verdict = await judge(body.toString())
  if ('keep' in verdict) return { status: 200, body: {} }
  return {
    status: 200,
    body: { message: 'test(s) failed', data: [{ user: 'joel@', errors: [verdict.problem] }] },
  }
}

async function judge(text: string): Promise<{ keep: string } | { problem: string }> {
  try {
    const tags = new Set((await devices()).flatMap((device) => device.tags ?? []))
    const policy = forHeadscale(text, tags)
    const { status, data } = await headscale('POST', '/api/v1/policy/check', { policy: policy.judge })
    return status === 200 ? { keep: policy.keep } : { problem: inUserWords(String(data.message)) }
  } catch (error) {
    return { problem: String(error) }
  }
}

async function headscale(method: string, path: string, body?: unknown) {
  const response = await fetch(`${setup.headscale}${path}`, {
    method,
    headers: { authorization: `Bearer ${setup.apiKey}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  try {
    return { status: response.status, data: JSON.parse(text || '{}') as Record<string, unknown> }
  } catch {
    return { status: response.status, data: { message: text } as Record<string, unknown> }
  }
}

const failure = (status: number, message: string): Answer => ({ status, body: { message, status } })

/** Everything else is the control server's. */
function forward(incoming: IncomingMessage, outgoing: ServerResponse) {
  const target = new URL(setup.headscale)
  const onward = request(
    {
      host: target.hostname,
      port: target.port,
      method: incoming.method,
      path: incoming.url,
      headers: incoming.headers,
    },
    (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(outgoing)
    },
  )
  onward.on('error', () => outgoing.writeHead(502).end())
  incoming.pipe(onward)
}

/** Clients talk to the control server and to the relay over upgraded connections: bytes from here on. */
function tunnel(incoming: IncomingMessage, socket: Socket, head: Buffer) {
  const target = new URL(setup.headscale)
  const onward = connect(Number(target.port), target.hostname, () => {
    const headers = incoming.rawHeaders
      .map((value, index) => (index % 2 ? `${value}\r\n` : `${value}: `))
      .join('')
    onward.write(`${incoming.method} ${incoming.url} HTTP/1.1\r\n${headers}\r\n`)
    onward.write(head)
    onward.pipe(socket).pipe(onward)
  })
  onward.on('error', () => socket.destroy())
  socket.on('error', () => onward.destroy())
  // A half that ended must end the other: a relay client that waits for ever looks like a dead peer.
  onward.on('close', () => socket.destroy())
  socket.on('close', () => onward.destroy())
}
