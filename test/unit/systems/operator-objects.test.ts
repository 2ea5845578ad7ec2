import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { createOperatorObjects } from '../../../src/systems/operator-objects.ts'

let folder: string
let server: Server
let api: Record<string, unknown>
let asked: string[]

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-objects-'))
  asked = []
  api = {}
  server = createServer((incoming, outgoing) => {
    const path = new URL(incoming.url ?? '', 'http://a').pathname
    asked.push(`${incoming.method} ${path}`)
    const found = api[path]
    const body = found ?? { kind: 'Status', message: 'not found', code: 404 }
    outgoing.writeHead(found ? 200 : 404, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'c',
        cluster: {
          server: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
          'insecure-skip-tls-verify': true,
        },
      },
    ],
    users: [{ name: 'u', user: {} }],
    contexts: [{ name: 'admin@talos', context: { cluster: 'c', user: 'u' } }],
  }
  writeFileSync(join(folder, 'kubeconfig'), stringify(kubeconfig))
})
afterEach(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  rmSync(folder, { recursive: true })
})

const objects = () =>
  createOperatorObjects({ context: 'admin@talos', kubeconfig: join(folder, 'kubeconfig') })
const of = { namespace: 'ts', proxyClass: 'onehop' }
const list = (...items: unknown[]) => ({ kind: 'List', apiVersion: 'v1', metadata: {}, items })
const named = (name: string, more: object = {}) => ({ metadata: { name, namespace: 'ts', ...more } })
const ours = { labels: { 'app.kubernetes.io/managed-by': 'onehop' } }
const resource = (name: string, kind: string, verbs = ['list', 'delete'], namespaced = true) => ({
  name,
  kind,
  namespaced,
  verbs,
  singularName: '',
})

const empty = {
  '/apis/apps/v1/namespaces/ts/deployments': list(),
  '/api/v1/namespaces/ts/pods': list(),
  '/apis/apiextensions.k8s.io/v1/customresourcedefinitions': list(),
}

test('what is there is told apart from what is not, and what is ours from what is not', async () => {
  api = empty
  expect(await objects().look(of)).toEqual({
    ...{ namespace: 'none', secret: 'none', proxyClass: 'none' },
    ...{ running: false, kindsGoing: false, deviceIds: [] },
  })
  const profiles = { a1: { NodeID: 'n1CNTRL', Key: 'profile-a1' }, b2: { NodeID: '' } }
  const data = { _profiles: Buffer.from(JSON.stringify(profiles)).toString('base64'), _machinekey: 'secret' }
  const kind = {
    ...named('proxyclasses', { deletionTimestamp: '2026-01-01T00:00:00Z' }),
    spec: { group: 'tailscale.com' },
  }
  api = {
    ...empty,
    '/api/v1/namespaces/ts': named('ts'),
    '/api/v1/namespaces/ts/secrets/operator-oauth': named('operator-oauth', ours),
    '/api/v1/namespaces/ts/secrets/operator': { ...named('operator'), data },
    '/apis/tailscale.com/v1alpha1/proxyclasses/onehop': named('onehop', ours),
    '/api/v1/namespaces/ts/pods': list(named('operator-1')),
    '/apis/apiextensions.k8s.io/v1/customresourcedefinitions': list(kind),
  }
  expect(await objects().look(of)).toEqual({
    ...{ namespace: 'other', secret: 'ours', proxyClass: 'ours' },
    ...{ running: true, kindsGoing: true, deviceIds: ['n1CNTRL'] },
  })
})

test('whatever the operator serves is a user, and every object of its kinds but our ProxyClass', async () => {
  const annotated = named('a', { annotations: { 'tailscale.com/expose': 'true' } })
  api = {
    '/api/v1/services': list(
      { ...annotated, spec: {} },
      { ...named('b'), spec: { loadBalancerClass: 'tailscale' } },
      { ...named('c', { finalizers: ['tailscale.com/finalizer'] }), spec: {} },
      { ...named('d', { annotations: { 'tailscale.com/expose': 'false' } }), spec: {} },
    ),
    '/apis/networking.k8s.io/v1/ingresses': list(
      { ...named('e'), spec: { ingressClassName: 'tailscale' } },
      { ...named('f'), spec: { ingressClassName: 'nginx' } },
    ),
    '/apis/apps/v1/namespaces/ts/statefulsets': list(named('ts-a-x')),
    '/apis/tailscale.com/v1alpha1': {
      resources: [
        resource('proxyclasses', 'ProxyClass', undefined, false),
        resource('proxyclasses/status', 'ProxyClass', ['get'], false),
        resource('connectors', 'Connector', undefined, false),
      ],
    },
    '/apis/tailscale.com/v1alpha1/proxyclasses': list(
      { metadata: { name: 'onehop' } },
      { metadata: { name: 'mine' } },
    ),
    '/apis/tailscale.com/v1alpha1/connectors': list({ metadata: { name: 'subnet' } }),
  }
  expect(await objects().users(of)).toEqual([
    'Service ts/a',
    'Service ts/b',
    'Service ts/c',
    'Ingress ts/e',
    'StatefulSet ts/ts-a-x',
    'ProxyClass mine',
    'Connector subnet',
  ])
})

test('a namespace holds what somebody put there, of any kind, and not what every namespace has', async () => {
  api = {
    '/api/v1': {
      resources: [
        resource('configmaps', 'ConfigMap'),
        resource('events', 'Event'),
        resource('nodes', 'Node', undefined, false),
        resource('pods', 'Pod'),
        resource('pods/status', 'Pod', ['get']),
        resource('serviceaccounts', 'ServiceAccount'),
      ],
    },
    '/apis': {
      groups: [
        {
          name: 'example.com',
          preferredVersion: { groupVersion: 'example.com/v1', version: 'v1' },
          versions: [{ groupVersion: 'example.com/v1', version: 'v1' }],
        },
      ],
    },
    '/apis/example.com/v1': {
      resources: [resource('things', 'Thing'), resource('readings', 'Reading', ['list'])],
    },
    '/api/v1/namespaces/ts/configmaps': list(named('kube-root-ca.crt'), named('mine')),
    '/api/v1/namespaces/ts/pods': list(
      named('owned', { ownerReferences: [{ kind: 'ReplicaSet', name: 'r' }] }),
      named('going', { deletionTimestamp: '2026-01-01T00:00:00Z' }),
    ),
    '/api/v1/namespaces/ts/serviceaccounts': list(named('default'), named('robot')),
    '/apis/example.com/v1/namespaces/ts/things': list(named('thing')),
  }
  expect(await objects().contents('ts')).toEqual(['ConfigMap mine', 'ServiceAccount robot', 'Thing thing'])
  expect(asked.every((each) => each.startsWith('GET '))).toBe(true)
})

test('deleting what is gone is no failure', async () => {
  await objects().deleteProxyClass('onehop')
  await objects().deleteSecrets('ts')
  await objects().deleteNamespace('ts')
  expect(asked).toEqual([
    'DELETE /apis/tailscale.com/v1alpha1/proxyclasses/onehop',
    'DELETE /api/v1/namespaces/ts/secrets/operator',
    'DELETE /api/v1/namespaces/ts/secrets/operator-oauth',
    'DELETE /api/v1/namespaces/ts',
  ])
})
