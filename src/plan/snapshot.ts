import type { Failure } from '../errors.ts'
import type { Entry } from '../journal-records.ts'
import type { IngressFacts } from '../systems/ingresses.ts'
import type { OperatorFacts, ProxyFacts, ServiceFacts } from '../systems/kubernetes-facts.ts'
import type { Device, Peer } from '../systems/tailscale.ts'
import type { CaddyVariable } from './caddy-variables.ts'

/**
 * What is there, as plain data: all that a plan is made of. A part that could not be read is absent and its failure
 * stands in `failures`, so that a plan can be shown of a system that is half down.
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
  tailnet?: {
    devices: Device[]
    tagOwners: Record<string, string[]>
    /** The policy's text (HuJSON). */
    policy?: string
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
  failures: Failure[]
}
