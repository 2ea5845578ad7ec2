import {
  type ApiConstructor,
  type ApiType,
  createConfiguration,
  type HttpLibrary,
  KubeConfig,
  type RequestContext,
  ResponseContext,
  ServerConfiguration,
  wrapHttpLibrary,
} from '@kubernetes/client-node'
import { OnehopError } from '../errors.ts'

/**
 * One context of a kubeconfig: of `kubeconfig`, else of KUBECONFIG or ~/.kube/config.
 *
 * @throws OnehopError kubernetes-context-unknown
 */
export function loadConfig(context: string, kubeconfig?: string): KubeConfig {
  const config = readConfig(kubeconfig)
  if (!config.getContextObject(context))
    throw new OnehopError('kubernetes-context-unknown', {
      context,
      known: config.contexts.map((each) => each.name).join(', ') || 'none',
    })
  config.setCurrentContext(context)
  return config
}

/** The context that kubectl would take, if there is one; and all of them. */
export function currentContext(kubeconfig?: string): { current?: string; known: string[] } {
  const config = readConfig(kubeconfig)
  const known = config.contexts.map((each) => each.name).filter((each) => each !== placeholder)
  const current = config.getCurrentContext()
  return { ...(known.includes(current) && { current }), known }
}

/** What the client makes up where there is no kubeconfig at all: localhost:8080. */
const placeholder = 'loaded-context'

function readConfig(kubeconfig: string | undefined): KubeConfig {
  const config = process.versions.bun ? new BunKubeConfig() : new KubeConfig()
  if (kubeconfig) config.loadFromFile(kubeconfig)
  else config.loadFromDefault()
  return config
}

/**
 * The client hands CA and client certificate to undici as a dispatcher, and Bun's fetch knows none: it would refuse the
 * cluster's certificate, and show none of its own. Bun takes them in an option of its own.
 */
class BunKubeConfig extends KubeConfig {
  override makeApiClient<T extends ApiType>(apiClientType: ApiConstructor<T>): T {
    const server = this.getCurrentCluster()?.server ?? ''
    return new apiClientType(
      createConfiguration({
        baseServer: new ServerConfiguration(server, {}),
        authMethods: { default: this },
        httpApi: this.bunFetch(),
      }),
    )
  }

  private bunFetch(): HttpLibrary {
    return wrapHttpLibrary({
      send: async (request: RequestContext) => {
        const options: Parameters<KubeConfig['applyToHTTPSOptions']>[0] = {}
        await this.applyToHTTPSOptions(options)
        const { ca, cert, key, rejectUnauthorized = true, servername } = options
        const body = request.getBody()
        const answer = await fetch(request.getUrl(), {
          method: request.getHttpMethod().toString(),
          headers: request.getHeaders(),
          ...(body !== undefined && { body: body as BodyInit }),
          ...(request.getSignal() && { signal: request.getSignal() as AbortSignal }),
          tls: { ca, cert, key, rejectUnauthorized, ...(servername && { serverName: servername }) },
        } as RequestInit)
        return new ResponseContext(answer.status, Object.fromEntries(answer.headers), {
          text: () => answer.text(),
          binary: async () => Buffer.from(await answer.arrayBuffer()),
          stream: () => answer.body,
        })
      },
    })
  }
}
