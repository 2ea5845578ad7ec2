import { ApiException, type Configuration, HttpMethod } from '@kubernetes/client-node'

/**
 * Everything of one kind, asked for in pages, each object made small as soon as its page is there: so a cluster of any
 * size costs a call per page and the memory of one. A list whose next page has expired (410: the cluster was too busy, or we
 * were too slow) is asked for anew as a whole.
 */
export async function listPages<Raw, T>(
  page: (part: Record<string, string>) => Promise<Page<Raw>>,
  small: (raw: Raw) => T,
): Promise<T[]> {
  const found: T[] = []
  for (let next: string | undefined, first = true; first || next; first = false) {
    const answer = await page({ ...(next && { continue: next }), limit: pageSize }).catch(
      (thrown: unknown) => {
        if (next && isExpired(thrown)) return undefined
        throw thrown
      },
    )
    if (!answer) return ((await page({})).items ?? []).map(small)
    for (const each of answer.items ?? []) found.push(small(each))
    next = answer.metadata?.continue
  }
  return found
}

/**
 * Lists as the API server sends them. Made into the client's own classes, a thousand objects would be most of the memory that
 * a plan takes, and a good part of its time. To be made by `KubeConfig.makeApiClient`, like the client's other parts.
 */
export class RawLists {
  readonly #configuration: Configuration

  constructor(configuration: Configuration) {
    this.#configuration = configuration
  }

  /** @throws ApiException; Error, where the answer is no list */
  async page<Raw>(path: string, query: Record<string, string>): Promise<Page<Raw>> {
    const { baseServer, httpApi } = this.#configuration
    const request = baseServer.makeRequestContext(path, HttpMethod.GET)
    request.setHeaderParam('Accept', 'application/json')
    for (const [name, value] of Object.entries(query)) request.setQueryParam(name, value)
    const { httpStatusCode: status, headers, body } = await httpApi.send(request).toPromise()
    const text = await body.text()
    if (status !== 200) throw new ApiException(status, 'a list', text, headers)
    const found: unknown = JSON.parse(text)
    // Whatever else answers under that address must not look like a cluster in which there is nothing.
    if (!isPage<Raw>(found)) throw new Error(`the answer to GET ${path} is no list: ${text.slice(0, 100)}`)
    return found
  }
}

/** `items` as in the API's own JSON: times are texts, names are not changed, and an empty list may be null. */
type Page<Raw> = { items: Raw[] | null; metadata?: { continue?: string } }

function isPage<Raw>(found: unknown): found is Page<Raw> {
  const { items } = (found ?? {}) as { items?: unknown }
  return items === null || Array.isArray(items)
}

/** As many as kubectl asks for. */
const pageSize = '500'

const isExpired = (thrown: unknown) => {
  const { cause } = thrown as { cause?: unknown }
  return cause instanceof ApiException && cause.code === 410
}
