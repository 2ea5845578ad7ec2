import type { News } from '../drift-record.ts'
import type { Setup } from '../setup.ts'
import { readCredential } from '../systems/credentials.ts'

/** Posts the news of drift as JSON to the URL in `drift.webhookFile`, if there is one. @throws OnehopError webhook-refused */
export async function tellWebhook(setup: Setup, news: News): Promise<void> {
  const { mesh, systems } = await setup.work()
  const file = mesh.drift.webhookFile
  if (file === undefined) return
  await systems.webhook.post({
    file,
    // A URL of a chat's webhook is a secret as well.
    url: await readCredential(file),
    body: { source: 'onehop', tailnet: mesh.tailnet, ...news },
  })
}
