/** A URL as it may be told to anyone: where it leads, and nothing that it carries. */
export function publicUrl(url: string): string {
  const { username, password, search, hash, origin, pathname } = new URL(url)
  return username || password || search || hash ? `${origin}${pathname}` : url
}
