import type { Call } from '../../simulated/effect.ts'

/** Everything that can go wrong, each at the effect whose number is `at`, or the next one that it can befall. */
export const faultKinds = [
  'error before the effect',
  'error after the effect',
  'timeout',
  'slow',
  'partial write',
  'duplicate',
  'reordered',
  'lost run',
  'cancelled run',
  'engine gone',
  'worker killed',
  'power cut',
  'stale version',
  'third-party edit',
  'third-party edit of ours',
  'name suffix',
  'pod killed',
  'machine slept',
  'disk full',
] as const
export type FaultKind = (typeof faultKinds)[number]
/** With `on`, only at a call of that name. */
export type Fault = { kind: FaultKind; at: number; on?: string }

/** Whether a fault of that kind can befall that call. */
export function isFor(kind: FaultKind, call: Call): boolean {
  const outside = call.system !== 'disk' && call.system !== 'probes'
  switch (kind) {
    case 'error before the effect':
      return call.lost !== undefined
    case 'error after the effect':
      return call.lost !== undefined && call.writes === true
    case 'timeout':
    case 'slow':
      return call.lost !== undefined && outside
    case 'partial write':
      return call.partly !== undefined
    case 'stale version':
      // An object's version or the policy's ETag just before a write; the file's hash while Caddy is asked what it runs.
      return (
        ((call.system === 'kubernetes' || call.system === 'tailscale') && call.writes === true) ||
        call.what === 'GET /config/'
      )
    default:
      return true
  }
}
