import type { KubeConfig, User } from '@kubernetes/client-node'
import { z } from 'zod'
import { messageOf } from '../errors.ts'
import { runProgram } from './run-program.ts'

/**
 * The credential plugin of a kubeconfig (`exec`): the client's own runs it without a deadline. What it prints is kept until it
 * expires.
 */
export function execPlugin(): Authenticator {
  const known = new Map<string, Promise<Credential>>()
  async function credentialOf({ name, authProvider }: User): Promise<Credential> {
    const earlier = await known.get(name)
    if (earlier && !isExpired(earlier)) return earlier
    const asked = runPlugin(name, execSchema.parse(authProvider.config.plugin))
    known.set(name, asked)
    // One that failed is asked again.
    asked.catch(() => known.delete(name))
    return asked
  }
  return {
    isAuthProvider: ({ authProvider }) => authProvider?.name === provider,
    async applyAuthentication(user, options) {
      const { token, clientCertificateData, clientKeyData } = (await credentialOf(user)).status
      if (clientCertificateData) options.cert = clientCertificateData
      if (clientKeyData) options.key = clientKeyData
      if (token) options.headers = { ...options.headers, Authorization: `Bearer ${token}` }
    },
  }
}

/** A user whose plugin is left to us. */
export function withPlugin(user: User): User {
  const { authProvider, exec: own, ...rest } = user
  const plugin = own ?? authProvider?.config?.exec
  return plugin ? { ...rest, authProvider: { name: provider, config: { plugin } } } : user
}

const provider = 'exec of onehop'

async function runPlugin(user: string, { command, args, env, apiVersion }: Exec): Promise<Credential> {
  const failed = (why: string, cause?: unknown) =>
    new Error(`${command}, which gives the credentials of user ${user}: ${why}`, { cause })
  const info = { apiVersion, kind: 'ExecCredential', spec: { interactive: false } }
  const ran = await runProgram(command, args ?? [], {
    deadline: 8000,
    env: {
      KUBERNETES_EXEC_INFO: JSON.stringify(info),
      ...Object.fromEntries((env ?? []).map(({ name, value }) => [name, value])),
    },
  }).catch((thrown: unknown) => {
    throw failed(messageOf(thrown), thrown)
  })
  if (ran.failed) throw failed((ran.stderr.trim() || ran.message).slice(0, 200))
  return credentialSchema.parse(JSON.parse(ran.stdout))
}

const isExpired = ({ status: { expirationTimestamp } }: Credential) =>
  expirationTimestamp !== undefined && Date.parse(expirationTimestamp) <= Date.now()

const execSchema = z.looseObject({
  apiVersion: z.string().default('client.authentication.k8s.io/v1'),
  command: z.string(),
  args: z.array(z.string()).nullish(),
  env: z.array(z.object({ name: z.string(), value: z.string() })).nullish(),
})
type Exec = z.output<typeof execSchema>

const credentialSchema = z.looseObject({
  status: z.looseObject({
    token: z.string().optional(),
    clientCertificateData: z.string().optional(),
    clientKeyData: z.string().optional(),
    expirationTimestamp: z.string().optional(),
  }),
})
type Credential = z.output<typeof credentialSchema>
type Authenticator = Parameters<KubeConfig['addAuthenticator']>[0]
