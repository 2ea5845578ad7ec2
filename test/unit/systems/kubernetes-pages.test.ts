import { readFileSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { currentContext } from '../../../src/systems/kube-config.ts'
import { createKubernetes } from '../../../src/systems/kubernetes.ts'
import { startApiServer } from '../api-server.ts'

const services = Array.from({ length: 1100 }, (_, index) => ({
  metadata: { name: `web-${index}`, namespace: index % 2 ? 'blue' : 'green' },
  spec: { ports: [] },
}))

test('Services are listed once, page by page', async () => {
  await using api = await startApiServer({ services })
  const { kubeconfig, asked } = api
  const found = await createKubernetes({ context: 'admin@talos', kubeconfig }).services()
  expect(new Set(found.map(({ name }) => name)).size).toBe(1100)
  expect(asked).toEqual([
    'GET /api/v1/services limit=500',
    'GET /api/v1/services continue=500&limit=500',
    'GET /api/v1/services continue=1000&limit=500',
  ])
})

test('of named namespaces, each is listed by itself: whoever may not list all may still list these', async () => {
  await using api = await startApiServer({ services })
  const { kubeconfig, asked } = api
  const { services: list } = createKubernetes({ context: 'admin@talos', kubeconfig })
  expect(await list(['blue', 'blue'])).toHaveLength(550)
  expect(asked).toHaveLength(2)
  expect(asked[0]).toMatch(/^GET \/api\/v1\/namespaces\/blue\/services /)
})

test('the current context of a kubeconfig, and none where it names one that is not there', async () => {
  await using api = await startApiServer({})
  const { kubeconfig } = api
  expect(currentContext(kubeconfig)).toEqual({ current: 'admin@talos', known: ['admin@talos'] })
  const text = readFileSync(kubeconfig, 'utf8')
  writeFileSync(kubeconfig, text.replace('current-context: admin@talos', 'current-context: gone'))
  expect(currentContext(kubeconfig)).toEqual({ known: ['admin@talos'] })
})
