/** JSON of another program (Caddy's config, mostly), looked into without believing anything of its shape. */
export type Json = Record<string, unknown>

export const isBranch = (value: unknown): value is Json => typeof value === 'object' && value !== null

/** Any value as it may stand in a sentence: a text as it is, everything else as JSON. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return value
  try {
    return JSON.stringify(value) ?? 'nothing'
  } catch {
    return String(value)
  }
}

/** The array, or an empty one. */
export const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : [])

/** The object at a path of keys, or an empty one. */
export const dig = (value: unknown, ...keys: string[]): Json =>
  keys.reduce<Json>(
    (node, key) => {
      const next = node[key]
      return isBranch(next) ? next : {}
    },
    isBranch(value) ? value : {},
  )
