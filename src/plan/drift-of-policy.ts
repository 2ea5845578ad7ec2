import { isDeepStrictEqual } from 'node:util'
import type { AllowState } from '../steps/allow-service.ts'
import type { DriftFacts, Finding, Standing } from './drift.ts'
import { lookup } from './lookup.ts'
import { lookAtAccess } from './policy.ts'
import type { Access } from './policy-access.ts'
import { fieldOf, hostsOf, isWideOpen, listOf, mightReach, rulesAbout, rulesOf } from './policy-rules.ts'
import { type Entry, entriesIn, entryText, type Piece, type Policy } from './policy-text.ts'
import { standingChange } from './states.ts'

/** What is not as it was left of the policy's entries for what is moved, and who else may reach it now. */
export function policyDrift({ snapshot }: DriftFacts, standing: Standing[]): Finding[] {
  const written = standing.flatMap(({ service, entry }) => {
    const change = standingChange(entry, 'allow')
    const { access, added, wide } = (change?.target ?? {}) as Partial<AllowState>
    return access ? [{ subject: service.name, access, added: added ?? [], wide }] : []
  })
  const policy = written.length > 0 ? lookup(snapshot).policy() : undefined
  if (!policy) return []
  const open = rulesOf(policy).filter(isWideOpen)
  return [
    ...open
      .filter(() => written.some((each) => each.wide === false))
      .map(
        ({ entry: { line, source } }): Finding => ({
          kind: 'rule-for-all',
          subject: 'policy',
          what: `line ${line} of the policy lets everything reach everything: ${oneLine(source)}`,
          cure: 'take that rule out again, or name what it is for',
        }),
      )
      .slice(0, 1),
    ...written.flatMap((each) => accessDrift(policy, each, open.length > 0)),
  ]
}

type Written = { subject: string; access: Access; added: Piece[] }

function accessDrift(policy: Policy, { subject, access, added }: Written, isOpen: boolean): Finding[] {
  const { missing, strays } = lookAtAccess(policy, access)
  const isTest = (entry: Entry) => entriesIn(policy, ['tests']).some(({ start }) => start === entry.start)
  const edited = strays.filter((each) => !isTest(each))
  const lost = missing.filter(({ at }) => at[0] !== 'tests')
  // Only those that were written: a rule that was narrowed since makes more of them possible than there were.
  const lostTests = missing.filter(
    (each) => each.at[0] === 'tests' && added.some((piece) => isDeepStrictEqual(piece, each)),
  )
  const [wider] = edited.filter((each) => reachesMore(each, access))
  // Where everything reaches everything, it is that rule which has to be told.
  const stranger = wider || isOpen ? undefined : strangersRule(policy, access, added)
  const findings: Finding[] = []
  if (wider)
    findings.push({
      kind: 'grant-widened',
      subject,
      what: `line ${wider.line} of the policy, onehop's own for ${subject}, lets more in than mesh.yaml says: ${oneLine(wider.source)}`,
    })
  if (stranger)
    findings.push({
      kind: 'grant-widened',
      subject,
      what: `line ${stranger.rule.line} of the policy lets ${stranger.who} reach ${stranger.target}: ${oneLine(stranger.rule.source)}`,
      mend: null,
      cure: `narrow that rule, or name ${stranger.who} in services.${subject}.allow`,
    })
  // What was edited to less is missing as well.
  if (lost.length > 0 && !wider)
    findings.push({
      kind: 'grant-gone',
      subject,
      what: `the policy has lost ${lost.map(pieceText).join('; ')}`,
    })
  const strayTest = strays.find(isTest)
  if (lostTests.length > 0 || strayTest)
    findings.push({
      kind: 'policy-test-gone',
      subject,
      what: strayTest
        ? `line ${strayTest.line} of the policy, a test for ${subject}, was edited: ${oneLine(strayTest.source)}`
        : `the policy has lost the test ${lostTests.map(pieceText).join('; ')}`,
    })
  return findings
}

/** Whether an edited rule of ours names a source, a port or a target that mesh.yaml does not. */
function reachesMore({ value }: Entry, { sources, tag, ports }: Access): boolean {
  const names = sources.map(({ name }) => name)
  if (listOf(value, 'src', 'users').some((each) => !names.includes(each))) return true
  const targets = listOf(value, 'dst', 'ports')
  const allowed = new Set(ports.map(String))
  if (fieldOf(value, 'ip') !== undefined)
    return (
      targets.some((each) => each !== tag) ||
      listOf(value, 'ip').some((each) => !allowed.has(each.replace(/^tcp:/, '')))
    )
  return targets.some((each) => !ports.some((port) => each === `${tag}:${port}`))
}

/**
 * A rule that is not ours and lets somebody in whom a test of ours denied: when that test was written, no rule did. It
 * counts also when the test is gone by now.
 */
function strangersRule(policy: Policy, { service, tag, neighbours }: Access, added: Piece[]) {
  const hosts = hostsOf(policy)
  const rules = rulesAbout(policy, tag).filter(({ entry }) => entry.mark !== service)
  for (const { value } of added.filter(({ at }) => at[0] === 'tests')) {
    const src = String(fieldOf(value, 'src'))
    const who = neighbours.find(({ name }) => name === src)
    for (const target of who ? listOf(value, 'deny') : []) {
      const port = Number(target.split(':').at(-1))
      const found = rules.find((rule) => who && mightReach(rule, who, tag, port, hosts))
      if (found) return { who: src, target, rule: found.entry }
    }
  }
  return undefined
}

const pieceText = (piece: Piece) => `${piece.at.join('.')}: ${entryText(piece)}`
const oneLine = (source: string) => source.replace(/\s+/g, ' ').slice(0, 200)
