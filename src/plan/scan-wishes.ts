import type { ServiceFacts } from '../systems/kubernetes-facts.ts'

/** The hostname and the tag that a Service's annotations ask for already, by its name in mesh.yaml, where no other has them. */
export function adoptWishes(services: Array<{ name: string; facts: ServiceFacts }>): Map<string, Wish> {
  const used = new Set(services.flatMap(({ name }) => [name, `tag:svc-${name}`]))
  const adopt = (value: string | undefined, shape: RegExp): string | undefined => {
    if (value === undefined || !shape.test(value) || used.has(value)) return undefined
    used.add(value)
    return value
  }
  return new Map(
    services.map(({ name, facts }) => {
      const value = (key: string) => facts.annotations[`tailscale.com/${key}`]?.value
      const hostname = adopt(value('hostname'), /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/)
      const tag = adopt(value('tags'), /^tag:[a-z][a-z0-9-]*$/)
      return [name, { ...(hostname !== undefined && { hostname }), ...(tag !== undefined && { tag }) }]
    }),
  )
}

export type Wish = { hostname?: string; tag?: string }
