import type { V1Pod } from '@kubernetes/client-node'
import { expect, test } from 'vitest'
import { podOf, podTrouble } from '../../../src/systems/kubernetes-facts.ts'

const ago = (seconds: number) => new Date(Date.now() - seconds * 1000)
const waiting = (reason: string, seconds: number): V1Pod => ({
  status: {
    startTime: ago(seconds),
    containerStatuses: [
      {
        ...{ name: 'tailscale', image: 'i', imageID: '', ready: false, restartCount: 0 },
        state: { waiting: { reason } },
      },
    ],
  },
})
const unscheduled = (seconds: number): V1Pod => ({
  status: {
    conditions: [
      {
        ...{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: 'no node' },
        lastTransitionTime: ago(seconds),
      },
    ],
  },
})

test.for<[string, V1Pod, boolean]>([
  ['a crash in the first minutes', waiting('CrashLoopBackOff', 60), true],
  ['a pod that goes on crashing', waiting('CrashLoopBackOff', 600), false],
  ['a pod that has just begun to wait for a node', unscheduled(60), true],
  ['a pod that no node takes', unscheduled(600), false],
  ['an image that cannot be had', waiting('ImagePullBackOff', 1), false],
  ['an image that could not be had', waiting('ErrImagePull', 1), false],
])('%s: trouble, and whether it may pass', ([, pod, mayPass]) => {
  expect(podTrouble(pod)).toBeDefined()
  expect(podOf(pod)).toMatchObject({ trouble: podTrouble(pod), mayPass })
})

test('a pod that is being made has no trouble', () => {
  expect(podOf(waiting('ContainerCreating', 600))).toMatchObject({ trouble: undefined, mayPass: false })
})
