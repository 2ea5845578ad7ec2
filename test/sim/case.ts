import fc from 'fast-check'
import { type Fault, faultKinds } from './faults.ts'

/** One service of a case, as it is before anything happens. */
export type CaseService = {
  routed: boolean
  spelling: 'localhost' | '127.0.0.1'
  probe: 'tcp' | 'redis'
  /** A person's own annotations of the operator's, which must come back as they were. */
  before: 'nothing' | 'tags' | 'exposed'
  engine: boolean
  /** A site that is none of onehop's leads to the same port. */
  elsewhere: boolean
}

const requestKinds = [
  'migrate',
  'some',
  'expose',
  'retire',
  'rollback',
  'rollback all',
  'local rollback',
  'abort',
  'abort all',
] as const

/** What somebody asks for, once so many effects have happened or nothing happens any more. */
export type CaseRequest = {
  /** An edit by hand is of the Caddyfile, which is reloaded, and of the policy; only when nothing else happens. */
  kind: (typeof requestKinds)[number] | 'edit by hand'
  service: number
  at: number
}

export type Case = {
  seed: number
  services: CaseService[]
  requests: CaseRequest[]
  faults: Fault[]
  lost: 'rollback' | 'resume'
  /** At the end everything is taken back, and must be as it was in the beginning. */
  takeBack: boolean
  /** 3 if left out. */
  soakSeconds?: number
}

/** One service with a route and annotations of its owner's, moved and taken back: for cases that are about one thing. */
export const plainCase: Case = {
  seed: 7,
  services: [
    {
      ...{ routed: true, spelling: 'localhost', probe: 'redis', before: 'tags' },
      ...{ engine: false, elsewhere: false },
    },
  ],
  requests: [{ kind: 'migrate', service: 0, at: 0 }],
  faults: [],
  lost: 'rollback',
  takeBack: true,
}

const service = fc.record<CaseService>({
  routed: fc.boolean(),
  spelling: fc.constantFrom('localhost', '127.0.0.1'),
  probe: fc.constantFrom('tcp', 'redis'),
  before: fc.oneof(
    { weight: 5, arbitrary: fc.constant('nothing' as const) },
    { weight: 1, arbitrary: fc.constantFrom('tags' as const, 'exposed' as const) },
  ),
  engine: fc.oneof({ weight: 8, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  elsewhere: fc.oneof(
    { weight: 4, arbitrary: fc.constant(false) },
    { weight: 1, arbitrary: fc.constant(true) },
  ),
})
const services = (minLength: number, maxLength: number) =>
  fc.array(service, { minLength, maxLength, size: 'max' })

/** Effects that a move of so many services takes, about: that is where the faults are spread. */
const span = (count: number) => 150 + 330 * count

/** Cases small and large: most of the trouble needs few services, and few effects are quick to run. */
export const caseArbitrary: fc.Arbitrary<Case> = fc
  .oneof(
    { weight: 30, arbitrary: services(1, 2) },
    { weight: 8, arbitrary: services(3, 5) },
    { weight: 1, arbitrary: services(6, 20) },
  )
  .chain((all) => {
    const request = fc.record<CaseRequest>({
      kind: fc.oneof(
        { weight: 3, arbitrary: fc.constantFrom(...requestKinds) },
        { weight: 1, arbitrary: fc.constant('retire' as const) },
      ),
      service: fc.nat({ max: all.length - 1 }),
      at: fc.nat({ max: span(all.length) }),
    })
    return fc.record({
      services: fc.constant(all),
      requests: fc.array(request, { maxLength: 3 }).map((more) => [first, ...more.map(late(all.length))]),
    })
  })
  .chain(({ services, requests }) => {
    const last = Math.max(...requests.map(({ at }) => at))
    const at = fc.nat({
      max: Math.max(last, 0) + span(services.length) / (last > span(services.length) ? 3 : 1),
    })
    return fc.record<Case>({
      seed: fc.integer(),
      services: fc.constant(services),
      requests: fc.constant(requests),
      faults: fc.array(fc.record<Fault>({ kind: fc.constantFrom(...faultKinds), at }), {
        maxLength: 6,
        size: 'max',
      }),
      lost: fc.constantFrom('rollback', 'resume'),
      takeBack: fc.boolean(),
    })
  })

const first: CaseRequest = { kind: 'migrate', service: 0, at: 0 }

/** What is not moved yet cannot be retired: that is asked for when most are, and faults come until then. */
const late =
  (count: number) =>
  (each: CaseRequest): CaseRequest =>
    each.kind === 'retire' ? { ...each, at: each.at + span(count) } : each
