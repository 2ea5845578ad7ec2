// Headscale cannot judge a policy test about a tag that no device has yet ("resolved to no IP addresses"); Tailscale
// can. So such a tag gets a made-up address for the judgement only, and Headscale keeps the policy without its tests.

type Policy = {
  tagOwners?: Record<string, string[]>
  hosts?: Record<string, string>
  acls?: { src: string[]; dst: string[] }[]
  grants?: { src: string[]; dst: string[] }[]
  tests?: { src: string; accept?: string[]; deny?: string[] }[]
}

/** The policy as Headscale must be asked about it (`judge`), and as it must be given it (`keep`). Throws on bad HuJSON. */
export function forHeadscale(hujson: string, tagsInUse: Set<string>): { judge: string; keep: string } {
  const policy = parse(hujson)
  const empty = Object.keys(policy.tagOwners ?? {}).filter((tag) => !tagsInUse.has(tag))
  const hosts = Object.fromEntries(empty.map((tag, index) => [alias(tag), `100.127.255.${index + 1}`]))
  const either = (entry: string) =>
    empty.some((tag) => matches(entry, tag)) ? [entry, inPlaceOf(entry, empty)] : [entry]
  const rule = <R extends { src: string[]; dst: string[] }>(each: R): R => ({
    ...each,
    src: each.src.flatMap(either),
    dst: each.dst.flatMap(either),
  })
  const judged: Policy = {
    ...policy,
    hosts: { ...policy.hosts, ...hosts },
    ...(policy.acls ? { acls: policy.acls.map(rule) } : {}),
    ...(policy.grants ? { grants: policy.grants.map(rule) } : {}),
    tests: (policy.tests ?? []).map((test) => ({
      ...test,
      src: inPlaceOf(test.src, empty),
      ...(test.accept ? { accept: test.accept.map((entry) => inPlaceOf(entry, empty)) } : {}),
      ...(test.deny ? { deny: test.deny.map((entry) => inPlaceOf(entry, empty)) } : {}),
    })),
  }
  const { tests: _, ...kept } = policy
  return { judge: JSON.stringify(judged), keep: JSON.stringify(kept) }
}

/** Who may give a tag to a device; nothing for a tag that the policy does not define. */
export const ownersOf = (hujson: string, tag: string): string[] | undefined => parse(hujson).tagOwners?.[tag]

/** Headscale's complaint in the user's own words. */
export const inUserWords = (message: string) => message.replaceAll('no-device-yet-', 'tag:')

const alias = (tag: string) => tag.replace('tag:', 'no-device-yet-')
const matches = (entry: string, tag: string) => entry === tag || entry.startsWith(`${tag}:`)

function inPlaceOf(entry: string, tags: string[]): string {
  const tag = tags.find((each) => matches(entry, each))
  return tag ? entry.replace(tag, alias(tag)) : entry
}

function parse(hujson: string): Policy {
  const policy: unknown = JSON.parse(withoutComments(hujson))
  if (typeof policy !== 'object' || policy === null || Array.isArray(policy))
    throw new Error('expected an object')
  return policy
}

function withoutComments(hujson: string): string {
  const string = /"(?:\\.|[^"\\])*"/.source
  const bare = hujson.replace(new RegExp(`(${string})|//[^\\n]*|/\\*[\\s\\S]*?\\*/`, 'g'), '$1')
  return bare.replace(new RegExp(`(${string})|,(?=\\s*[}\\]])`, 'g'), '$1')
}
