import { messageOf } from '../errors.ts'
import type { ClusterService, Mesh } from '../plan/mesh.ts'
import { deviceName } from '../plan/paths.ts'
import type { Systems } from '../systems/systems.ts'
import { probeDevice } from './prove-path.ts'

/**
 * Proves a service's device name from this machine, some rounds long, as a client there would: every port, each round.
 * It never throws: what does not answer is what it was asked to find out.
 */
export async function probeFrom(
  systems: ReturnType<ProbingSystems>,
  mesh: Mesh,
  { service, rounds, every }: { service: ClusterService; rounds: number; every: number },
): Promise<Seen> {
  const name = deviceName(mesh, service)
  const peer = async () => (await systems.tailscale.peers())[name]
  await awaitPeer(peer)
  const seen: Seen = { answers: [], direct: 0, relayed: 0 }
  for (let round = 1; round <= rounds; round++) {
    const start = Date.now()
    const probed = await probeDevice(systems.probes, mesh, service)
    for (const { target, answer } of probed)
      seen.answers.push({
        port: target.port,
        ok: answer.ok,
        ms: answer.ms,
        ...(!answer.ok && { message: answer.message.slice(0, 300) }),
      })
    // After the probes: a way that was not used lately is not known. Without tailscaled's word, none is counted.
    const way = await peer().catch(() => undefined)
    if (way?.reachable) seen[way.direct ? 'direct' : 'relayed']++
    if (round < rounds) await pause(Math.max(0, start + every * 1000 - Date.now()))
  }
  return seen
}

/** What a probing machine drives; `createProbingSystems` makes it. */
export type ProbingSystems = (mesh: Mesh) => Pick<Systems, 'probes' | 'tailscale'>
export type Seen = {
  answers: Array<{ port: number; ok: boolean; ms: number; message?: string }>
  /** Rounds in which tailscaled had a direct way to the device, and a relayed one. */
  direct: number
  relayed: number
  failure?: string
}

/** Nothing could be asked at all; `thrown` says why. */
export const sawNothing = (thrown: unknown): Seen => ({
  answers: [],
  direct: 0,
  relayed: 0,
  failure: messageOf(thrown).slice(0, 300),
})

/**
 * The device and its grant are only seconds old: this machine may be told of them later than the worker's. And a packet
 * sent before tailscaled knows a way starts a handshake that nobody hears, with the next try only after 5 s.
 */
async function awaitPeer(peer: () => Promise<{ reachable: boolean } | undefined>): Promise<void> {
  const until = Date.now() + 10_000
  while (Date.now() < until) {
    const found = await peer().catch(() => undefined)
    if (found?.reachable) return
    await pause(500)
  }
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))
