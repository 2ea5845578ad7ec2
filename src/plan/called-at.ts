/** The URL at which the engine calls the functions. */
export const endpointOf = (serveOrigin: string, path: string) =>
  new URL(`${path}/api/inngest`, serveOrigin).href

/**
 * Whether the URL that the engine has for an app is this endpoint. The engine turns 127.0.0.1 and 0.0.0.0 into localhost
 * (inngest/inngest, pkg/util/normalize.go). A query makes no difference.
 */
export function isCalledAt(url: string | null, endpoint: string): boolean {
  const plain = (text: string) => {
    const found = URL.parse(text)
    if (!found) return undefined
    if (/^(127\.0\.0\.1|0\.0\.0\.0)$/.test(found.hostname)) found.hostname = 'localhost'
    return `${found.origin}${found.pathname}`
  }
  return url !== null && plain(url) !== undefined && plain(url) === plain(endpoint)
}
