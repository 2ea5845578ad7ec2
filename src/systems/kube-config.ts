import { readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'
import {
  type ApiConstructor,
  type ApiType,
  createConfiguration,
  KubeConfig,
  type RequestContext,
  ResponseContext,
  ServerConfiguration,
  wrapHttpLibrary,
} from '@kubernetes/client-node'
import { messageOf, OnehopError } from '../errors.ts'
import { inTime } from '../in-time.ts'
import { expectFile } from './expect-file.ts'
import { callHttp } from './http-call.ts'
import { execPlugin, withPlugin } from './kube-exec.ts'

/**
 * One context of a kubeconfig: of `kubeconfig`, else of KUBECONFIG or ~/.kube/config.
 *
 * @throws OnehopError kubernetes-context-unknown, kubeconfig-unreadable
 */
export function loadConfig(context: string, kubeconfig?: string): KubeConfig {
  const config = readConfig(kubeconfig)
  if (!config.getContextObject(context))
    throw new OnehopError('kubernetes-context-unknown', {
      context,
      known: namesOf(config).join(', ') || 'none',
    })
  config.setCurrentContext(context)
  refuseOldProviders(config)
  return config
}

/** The context that kubectl would take, if there is one; and all of them. @throws OnehopError kubeconfig-unreadable */
export function currentContext(kubeconfig?: string): { current?: string; known: string[] } {
  const config = readConfig(kubeconfig)
  const known = namesOf(config)
  const current = config.getCurrentContext()
  return { ...(known.includes(current) && { current }), known }
}

/** What the client makes up where there is no kubeconfig at all: localhost:8080. */
const placeholder = 'loaded-context'

const namesOf = ({ contexts }: KubeConfig) =>
  contexts.map((each) => each.name).filter((each) => each !== placeholder)

function readConfig(kubeconfig: string | undefined): KubeConfig {
  const config = new BoundedKubeConfig()
  const files = kubeconfig ? [kubeconfig] : defaultFiles()
  try {
    for (const file of files) expectFiles(file)
    if (kubeconfig) config.loadFromFile(kubeconfig)
    else config.loadFromDefault()
  } catch (thrown) {
    const file = files.join(delimiter)
    throw new OnehopError('kubeconfig-unreadable', { file, message: messageOf(thrown) }, { cause: thrown })
  }
  config.addAuthenticator(execPlugin())
  config.users = config.users.map(withPlugin)
  return config
}

/** Where the client looks by itself. */
function defaultFiles(): string[] {
  const named = process.env.KUBECONFIG?.split(delimiter).filter(Boolean) ?? []
  if (named.length > 0) return named
  const usual = join(process.env.HOME ?? homedir(), '.kube', 'config')
  return statSync(usual, { throwIfNoEntry: false }) ? [usual] : []
}

/**
 * The client reads the kubeconfig and the files that it names synchronously: a FIFO among them would stop this process for ever,
 * deaf to signals.
 */
function expectFiles(file: string): void {
  expectFile(file)
  const keys = 'certificate-authority|client-certificate|client-key|token-?[fF]ile|idp-certificate-authority'
  const named = readFileSync(file, 'utf8').matchAll(
    new RegExp(`["']?(?:${keys})["']?:[ \\t]*["']?([^"'\\s,}]+)`, 'g'),
  )
  for (const [, path = ''] of named) expectFile(resolve(dirname(file), path))
}

/** They run a program synchronously, so that no deadline could end it. */
function refuseOldProviders(config: KubeConfig): void {
  const { name, authProvider } = config.getCurrentUser() ?? {}
  const provider: unknown = authProvider?.name
  if (provider !== 'azure' && provider !== 'gcp') return
  throw new OnehopError('kubeconfig-unreadable', {
    file: `user ${name ?? '(without a name)'}`,
    message: `its auth-provider ${provider} was dropped by kubectl 1.26: use an exec plugin`,
  })
}

/** The client over our own calls: its own never end where the API server is silent, and know no client certificate under Bun. */
class BoundedKubeConfig extends KubeConfig {
  override makeApiClient<T extends ApiType>(apiClientType: ApiConstructor<T>): T {
    const server = this.getCurrentCluster()?.server ?? ''
    return new apiClientType(
      createConfiguration({
        baseServer: new ServerConfiguration(server, {}),
        httpApi: wrapHttpLibrary({ send: (request) => this.send(request) }),
      }),
    )
  }

  private async send(request: RequestContext): Promise<ResponseContext> {
    const options: HttpsOptions = {}
    // Somebody else may have to be asked for a token.
    await inTime(credentialDeadline, () => this.applyToHTTPSOptions(options))
    const { ca, cert, key, rejectUnauthorized, servername, agent, auth, headers } = options
    const body = request.getBody()
    const {
      status,
      headers: answered,
      text,
    } = await callHttp(request.getUrl(), {
      method: request.getHttpMethod().toString(),
      headers: {
        'accept-encoding': 'gzip',
        ...request.getHeaders(),
        ...(headers as Record<string, string> | undefined),
        ...(auth && { authorization: `Basic ${Buffer.from(auth).toString('base64')}` }),
      },
      ...(body !== undefined && { body: body as string }),
      tls: defined({ ca, cert, key, rejectUnauthorized, servername, agent }),
    })
    return new ResponseContext(status, answered, {
      text: async () => text,
      binary: async () => Buffer.from(text),
      stream: () => null,
    })
  }
}

type HttpsOptions = Parameters<KubeConfig['applyToHTTPSOptions']>[0]

/** Milliseconds: a program of the kubeconfig, or a server that it names, gives a token. */
const credentialDeadline = 10_000

const defined = <T extends object>(options: T) =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [Key in keyof T]?: NonNullable<T[Key]>
  }
