import type { Container } from '../systems/docker.ts'
import type { ServiceFacts } from '../systems/kubernetes-facts.ts'
import type { Listener } from '../systems/listeners.ts'
import type { LocalTailnet } from '../systems/tailscale.ts'
import type { CaddyVariable } from './caddy-variables.ts'

/**
 * What is there before there is a mesh.yaml, as plain data. A part that could not be read is absent, and `unread` says why.
 * `from` says, for people, where a value was taken from.
 */
export type Inventory = {
  cluster: {
    context: string
    from: string
    /** To be written to mesh.yaml; absent where it is the default one. */
    kubeconfig?: string
    /** Empty: all. */
    namespaces: string[]
    services: ServiceFacts[]
    nodes: string[]
  }
  docker?: Container[]
  /** `file` is where the Caddyfile is, or would be. */
  caddy: {
    file: string
    admin: string
    text?: string
    adapted?: unknown
    running?: unknown
    variables?: CaddyVariable[]
  }
  tailnet?: LocalTailnet & { from: string }
  listeners?: Listener[]
  unread: Unread[]
}

export type Unread = { what: string; why: string }

/** What a port of this machine said when it was asked. */
export type Spoken =
  | { kind: 'redis' }
  | { kind: 'http'; path: string; inngest: boolean }
  | { kind: 'tcp'; inngest: boolean }
  | { kind: 'silent' }
/** By port of this machine. */
export type Answers = ReadonlyMap<number, Spoken>
