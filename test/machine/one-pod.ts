// The smallest story with every kind of thing that could be left behind: a cluster with one running pod.
// usage (inside): one-pod.ts succeed|fail|wait
import { startSandbox } from '../../sandbox/start.ts'

const [ending] = process.argv.slice(2)
await using world = await startSandbox({ parts: 'cluster' })
const pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'one' },
  spec: {
    automountServiceAccountToken: false,
    tolerations: [{ operator: 'Exists' }],
    containers: [{ name: 'one', image: 'localhost/base:1', imagePullPolicy: 'Never' }],
  },
}
await world.kubectl(['apply', '-f', '-'], JSON.stringify(pod))
await world.kubectl(['wait', '--for=condition=Ready', 'pod/one', '--timeout=60s'])
console.log('the pod runs')
if (ending === 'fail') throw new Error('this story fails on purpose')
if (ending === 'wait') await new Promise(() => setInterval(() => {}, 60_000))
