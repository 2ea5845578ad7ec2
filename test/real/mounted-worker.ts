// The user's own worker as it is, an app of Inngest's SDK v3 on Bun (or Node), with onehop mounted in it: one process, one port.
// usage: bun mounted-worker.ts MESH_FILE PORT
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { Hono } from 'hono'
import { Inngest } from 'inngest-v3'
import { serve } from 'inngest-v3/hono'
import { createOnehopApp } from '../../src/server.ts'

const [meshFile = '', port = ''] = process.argv.slice(2)
const key = (name: string) => readFileSync(join(homedir(), '.config/onehop', name), 'utf8').trim()
const client = new Inngest({
  id: 'system-bus-host',
  baseUrl: 'http://localhost:8288',
  isDev: false,
  eventKey: key('inngest-event-key'),
})
const greet = client.createFunction({ id: 'greet' }, { event: 'test/greeted' }, () =>
  console.log(`greeted under ${process.versions.bun ? 'Bun' : 'Node'}`),
)

const app = new Hono()
app.get('/', (context) => context.json({ service: 'system-bus' }))
app.on(
  ['GET', 'PUT', 'POST'],
  '/api/inngest',
  serve({ client, functions: [greet], signingKey: key('inngest-signing-key') }),
)
const onehop = await createOnehopApp({ meshFile })
app.route('/onehop', onehop.app)
export default { port: Number(port), hostname: '0.0.0.0', fetch: app.fetch }

const worker = await onehop.start({ log: console.log })
process.on('SIGTERM', () => worker.close().then(() => process.exit(0)))
