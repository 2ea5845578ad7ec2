/**
 * A name for each Service: its own, without the `-svc` or `-service` that keeps Kubernetes from setting variables of that
 * name; with its namespace behind where two would share one. A name is also a hostname, so it is a DNS label.
 */
export function nameServices(services: Array<{ namespace: string; name: string }>): string[] {
  const short = services.map(({ name }) => label(name.replace(/-(svc|service)$/, '')))
  const used = new Set<string>()
  return services.map(({ namespace, name }, index) => {
    const own = short[index] ?? name
    const isShared = short.filter((each) => each === own).length > 1
    return unused(isShared ? label(`${own}-${namespace}`) : own, used)
  })
}

/** The name, or the name with a number, that nobody has yet; it is taken then. */
export function unused(name: string, used: Set<string>): string {
  for (let number = 1; ; number++) {
    const tried = number === 1 ? name : `${name.slice(0, 58)}-${number}`
    if (used.has(tried)) continue
    used.add(tried)
    return tried
  }
}

/** A text as a DNS label; `service` where nothing of it is one. */
export const label = (text: string) =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, '-')
    .slice(0, 63)
    .replace(/^-+|-+$/g, '') || 'service'
