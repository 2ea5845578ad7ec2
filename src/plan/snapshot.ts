import { type Failure, fromFailure, OnehopError } from '../errors.ts'
import type { Entry } from '../journal-records.ts'
import type { IngressFacts } from '../systems/ingresses.ts'
import type { OperatorFacts, ProxyFacts, ServiceFacts } from '../systems/kubernetes-facts.ts'
import type { Device, Peer } from '../systems/tailscale.ts'
import type { CaddyVariable } from './caddy-variables.ts'

/**
 * What is there, as plain data: all that a plan is made of. A part that could not be read is absent, and its failure is in
 * `failures`, so that a plan can be shown of a system that is half down. Absent never means empty: a part that was read
 * and holds nothing is there.
 */
export type Snapshot = {
  cluster?: {
    id: string
    services: ServiceFacts[]
    /** pod-security level by namespace; '' where the label is missing. */
    namespaces: Record<string, string>
    /** Names of the ports with a ready endpoint, by namespace/service. */
    readyPorts: Record<string, string[]>
    /** By namespace/service. */
    proxies: Record<string, ProxyFacts>
    /** Only where a service of mesh.yaml is exposed by one. */
    ingresses?: IngressFacts[]
    operator?: OperatorFacts
    proxyClassReady?: boolean
  }
  /** By Tailscale's API. */
  tailnet?: { devices: Device[] }
  /** The policy's text (HuJSON), one that can be parsed. */
  policy?: string
  /** By the tailscaled of this machine. */
  tailscaled?: {
    peers: Record<string, Peer>
    /** What both resolvers of this machine say of a peer that exists: its addresses, or an error's text. */
    dns?: { name: string; expected: string[]; magicDns: string[] | string; system: string[] | string }
  }
  /** `variables`: those of the file's own environment, where Caddy runs something else than `adapted`. */
  caddy?: {
    version: string
    text: string
    adapted: unknown
    running: unknown
    variables?: CaddyVariable[]
  }
  journal: Entry[]
  failures: Unread[]
}

/** What each part is called in a sentence; in the order in which they are named. */
export const partNames = {
  cluster: 'the cluster',
  tailnet: 'the devices of the tailnet',
  policy: 'the policy of the tailnet',
  tailscaled: 'the tailscaled of this machine',
  caddy: 'Caddy',
} as const satisfies Partial<Record<keyof Snapshot, string>>
export type Part = keyof typeof partNames
export const allParts = Object.keys(partNames) as Part[]

/** Why a part could not be read, or several for one reason. */
export type Unread = Failure & { parts: Part[] }

/** A snapshot of which no part is missing: only such a world has a hash, and only in such a one is anything begun. */
export type WholeSnapshot = Snapshot & Required<Pick<Snapshot, Part>>

export const unreadParts = (snapshot: Snapshot): Part[] =>
  allParts.filter((part) => snapshot[part] === undefined)

export const isWhole = (snapshot: Snapshot): snapshot is WholeSnapshot => unreadParts(snapshot).length === 0

/** Several parts in a sentence: `the cluster and Caddy`. */
export const namesOf = (parts: Part[]): string =>
  new Intl.ListFormat('en').format(parts.map((part) => partNames[part]))

/**
 * The snapshot, if nothing of it is missing.
 *
 * @throws OnehopError what could not be read: first what may pass by itself, so that a step tries it again
 */
export function requireWhole(snapshot: Snapshot): WholeSnapshot {
  const { failures } = snapshot
  const unread = failures.find(({ kind }) => kind === 'system') ?? failures[0]
  if (unread) throw fromFailure(unread)
  if (isWhole(snapshot)) return snapshot
  throw new OnehopError('internal', { message: `${namesOf(unreadParts(snapshot))} was not read` })
}

/** The error of a plan that is made of such a world, if it is not whole. */
export function planUnread(snapshot: Snapshot): OnehopError | undefined {
  const unread = unreadParts(snapshot)
  return unread.length > 0 ? new OnehopError('plan-unread', { parts: namesOf(unread) }) : undefined
}
