/** A URL that anyone may read: without user, password, query and fragment. */
export function publicUrl(url: string): string {
  const { username, password, search, hash, origin, pathname } = new URL(url)
  return username || password || search || hash ? `${origin}${pathname}` : url
}
