import type { Failure } from '../errors.ts'
import type { RequestRecord } from '../journal-records.ts'
import type { EngineApp } from '../systems/engine.ts'
import type { Answer, Target } from '../systems/probes.ts'
import type { Peer } from '../systems/tailscale.ts'
import type { CaddyVariable } from './caddy-variables.ts'
import type { CheckId } from './check-table.ts'
import type { Snapshot } from './snapshot.ts'

/** What the checks are judged by, as plain data. What could not be read is absent, and `failures` says why. */
export type CheckFacts = {
  /** As for a plan: cluster, tailnet and Caddy, each only if it could be read. Without failures. */
  snapshot: Snapshot
  /** Of what could not be read or was refused: by the check that it makes fail. */
  failures: Partial<Record<CheckId, Failure>>
  requests: RequestRecord[]
  /** The key files that could be read, with their permissions. */
  keyFiles: Array<{ file: string; mode: number }>
  /** Whether onehop and the operator have the same OAuth client; absent if that cannot be known. */
  sharedClient?: boolean
  /** By this machine's tailscaled: what it knows, and how a peer that exists is resolved. */
  peers?: Record<string, Peer>
  dns?: NonNullable<Snapshot['tailscaled']>['dns']
  caddy: { version?: string; running?: unknown; adapted?: unknown; variables?: CaddyVariable[] }
  /** Its app in the engine; null where the engine has none. */
  app?: EngineApp | null
  /** The engine that the worker uses; absent where no worker answers. */
  worker?: { engine: string }
  /** By service: what was asked of its paths. */
  paths: Record<string, PathFacts>
}

export type PathFacts = {
  portMaps?: Asked[]
  device?: Asked[]
  names?: { magicDns: string[] | string; system: string[] | string }
}
type Asked = { target: Target; answer: Answer }
