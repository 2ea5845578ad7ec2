/** Where the engine is to call the functions, with engine.serveOrigin. */
export const endpointOf = (serveOrigin: string, path: string) =>
  new URL(`${path}/api/inngest`, serveOrigin).href

/**
 * Whether the engine calls an app there. It calls this machine localhost, however it was registered (pkg/util/normalize.go of
 * inngest), and a query says nothing of where.
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
