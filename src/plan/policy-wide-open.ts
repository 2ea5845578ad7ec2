import { hostPiece, insertPieces, removeAccess } from './policy.ts'
import type { PolicyDevice, Source } from './policy-access.ts'
import { fieldOf, isWideOpen, rulesOf } from './policy-rules.ts'
import { cutEntry, entriesIn, insertEntry, type Piece, type Policy, parsePolicy } from './policy-text.ts'

/**
 * The rules that let everything reach everything, on all ports. While one stands, no other rule means anything.
 *
 * @throws OnehopError policy-unreadable
 */
export const wideOpen = (of: string | Policy): Array<{ line: number; rule: string }> =>
  wideRules(typeof of === 'string' ? parsePolicy(of) : of).map(({ entry: { line, source } }) => ({
    line,
    rule: source.replace(/\s+/g, ' '),
  }))

/**
 * The policy with each `*` -> `*` rule replaced by one that lets today's devices reach each other as before, save the
 * services of `tags`, which only their own rules reach from then on; with a test for each pair. `widenAgain` puts the old
 * rules back. What moves afterwards gets its deny tests: they make sense only now.
 *
 * @throws OnehopError policy-unreadable
 */
export function narrowWideOpen(
  text: string,
  { devices, tags }: { devices: PolicyDevice[]; tags: string[] },
): { text: string; added: Piece[] } {
  const policy = parsePolicy(text)
  const wide = wideRules(policy)
  const isService = (device: PolicyDevice) => device.tags.some((tag) => tags.includes(tag))
  const kept = devices.filter((device) => !isService(device))
  if (wide.length === 0 || kept.length === 0) return { text, added: [] }
  const serviceTags = devices.filter(isService).flatMap((device) => device.tags)
  const named = kept.map((device) => nameOf(policy, device, serviceTags))
  const names = [...new Set(named.map(({ name }) => name))]
  // What `*` reaches beyond the devices: subnets behind them, and the internet through exit nodes.
  const routes = [...new Set(kept.flatMap((device) => device.routes ?? []))]
  const beyond = [
    ...new Set(routes.map((route) => (/^(0\.0\.0\.0|::)\/0$/.test(route) ? 'autogroup:internet' : route))),
  ]
  const targets = [...names, ...beyond]
  const rules = wide.map(
    ({ section, entry }): Piece => ({
      at: [section],
      value:
        section === 'grants'
          ? { src: names, dst: targets, ...without(entry.value as object, 'src', 'dst') }
          : { action: 'accept', src: names, dst: targets.map((each) => `${each}:*`) },
      mark: '*',
      was: entry.source,
    }),
  )
  const tests = names.flatMap((src): Piece[] => {
    const accept = names.filter((each) => each !== src).map((each) => `${each}:22`)
    return accept.length > 0 ? [{ at: ['tests'], value: { src, accept }, mark: '*' }] : []
  })
  const added = [...named.flatMap(({ host }) => host), ...rules, ...tests]
  return { text: insertPieces(text, added), added }
}

/**
 * The policy with its old rules from `*` to `*` again, byte for byte as before `narrowWideOpen`. Where such a rule is back,
 * the deny tests of services that moved meanwhile go: no policy that fails its own tests can be saved. Forced, an old rule
 * whose place is not known any more (somebody took our mark off) is written again.
 *
 * @throws OnehopError policy-unreadable, policy-changed-by-others (unless forced)
 */
export function widenAgain(text: string, added: Piece[], options: { force?: boolean } = {}): string {
  const removed = removeAccess(text, added, options).text
  let now = options.force ? withOldRules(removed, added) : removed
  const denial = () =>
    wideOpen(now).length === 0
      ? undefined
      : entriesIn(parsePolicy(now), ['tests']).find(
          ({ mark, value }) => mark !== undefined && fieldOf(value, 'deny') !== undefined,
        )
  for (let entry = denial(); entry; entry = denial()) now = cutEntry(now, entry)
  // Also the section, if it was made for those alone.
  return removeAccess(now, []).text
}

/** The text with those of the replaced rules that are not in it, if it has fewer rules from `*` to `*` than were replaced. */
function withOldRules(text: string, added: Piece[]): string {
  const replaced = added.flatMap((piece) => (piece.was === undefined ? [] : [{ ...piece, was: piece.was }]))
  return replaced.reduce((now, piece) => {
    const policy = parsePolicy(now)
    const isBack = entriesIn(policy, piece.at).some(({ source }) => source === piece.was)
    if (isBack || wideRules(policy).length >= replaced.length) return now
    const inserted = insertEntry(now, piece)
    const ours = entriesIn(parsePolicy(inserted), piece.at)[0]
    return ours ? `${inserted.slice(0, ours.start)}${piece.was},${inserted.slice(ours.end)}` : now
  }, text)
}

/** A grant may hold more than who reaches what: capabilities of applications, say. */
const without = (value: object, ...names: string[]) =>
  Object.fromEntries(Object.entries(value).filter(([key]) => !names.includes(key.toLowerCase())))

const wideRules = (policy: Policy) => rulesOf(policy).filter(isWideOpen)

/** A tag that no service has, else the alias that the file has for it, else a new one, or its address where that is taken. */
function nameOf(policy: Policy, { name, addresses, tags }: PolicyDevice, serviceTags: string[]) {
  const tag = tags.find((each) => !serviceTags.includes(each))
  if (tag) return { name: tag, host: [] }
  const hosts = entriesIn(policy, ['hosts'])
  const address = addresses.find((each) => each.includes('.')) ?? addresses[0] ?? ''
  const label = name.split('.')[0] ?? name
  const alias = hosts.find(({ value }) => addresses.includes(String(value)))?.key ?? label
  if (hosts.some(({ key, value }) => key === alias && !addresses.includes(String(value))))
    return { name: address, host: [] }
  const source: Source = { name: alias, machine: true, addresses, tags }
  return { name: alias, host: hostPiece(policy, source, label) }
}
