import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readContainers } from '../../../src/systems/docker.ts'

// Shaped like the output of Docker 28: what is bound stands in NetworkSettings, what was asked for in HostConfig.
const talos = {
  Name: '/talos-controlplane-1',
  Config: { Env: ['TOKEN=very-secret'], Labels: { 'talos.owned': 'true' } },
  HostConfig: { PortBindings: { '3000/tcp': [{ HostIp: '', HostPort: '9627' }] } },
  NetworkSettings: {
    Ports: {
      '3000/tcp': [
        { HostIp: '0.0.0.0', HostPort: '9627' },
        { HostIp: '::', HostPort: '9627' },
      ],
      '50000/tcp': null,
      '53/udp': [{ HostIp: '127.0.0.1', HostPort: '53' }],
    },
  },
}
const plain = {
  Name: '/web',
  Config: { Env: null, Labels: {} },
  HostConfig: {
    PortBindings: { '80/tcp': [{ HostIp: '', HostPort: '8080' }], '81/tcp': [{ HostIp: '', HostPort: '' }] },
  },
  NetworkSettings: { Ports: {} },
}

let folder: string
let bin: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-docker-'))
  bin = join(folder, 'docker')
})
afterEach(() => rmSync(folder, { recursive: true }))

/** A `docker` that answers `ps` and `inspect` by shell, and writes down what it was asked. */
function answering({ ps, inspect }: { ps: string; inspect: string }): void {
  writeFileSync(
    bin,
    `#!/bin/sh\necho "$@" >> ${folder}/asked\ncase $1 in ps) ${ps};; inspect) ${inspect};; esac\n`,
    { mode: 0o755 },
  )
  writeFileSync(join(folder, 'containers.json'), JSON.stringify([talos, plain]))
}
const print = () => `cat ${folder}/containers.json`

test('tells the port maps of what runs, as they are bound, and nothing of the environment', async () => {
  answering({ ps: 'echo abc; echo def', inspect: `[ "$*" = "inspect abc def" ] && ${print()}` })
  const containers = await readContainers({ nodes: [], bin })
  expect(containers).toEqual([
    {
      name: 'talos-controlplane-1',
      isNode: true,
      maps: [
        { hostAddress: '0.0.0.0', hostPort: 9627, containerPort: 3000, protocol: 'tcp' },
        { hostAddress: '::', hostPort: 9627, containerPort: 3000, protocol: 'tcp' },
        { hostAddress: '127.0.0.1', hostPort: 53, containerPort: 53, protocol: 'udp' },
      ],
    },
    {
      name: 'web',
      isNode: false,
      maps: [{ hostAddress: '', hostPort: 8080, containerPort: 80, protocol: 'tcp' }],
    },
  ])
  expect(JSON.stringify(containers)).not.toContain('very-secret')
})

test('asks for the nodes by name where ps may not be asked, and takes those that are there', async () => {
  answering({ ps: 'exit 1', inspect: `[ "$2 $3" = "talos gone" ] && ${print()}; exit 1` })
  expect((await readContainers({ nodes: ['talos', 'gone'], bin })).map(({ name }) => name)).toEqual([
    'talos-controlplane-1',
    'web',
  ])
})

test('nothing runs: no container, and no question', async () => {
  answering({ ps: 'true', inspect: 'exit 1' })
  expect(await readContainers({ nodes: ['talos'], bin })).toEqual([])
})

test.for([
  { title: 'no docker', ps: undefined, says: 'ENOENT' },
  {
    title: 'a daemon that is down',
    ps: 'echo "Cannot connect to the Docker daemon" >&2; exit 1',
    says: 'Cannot connect',
  },
  { title: 'an answer of another kind', ps: 'echo abc', says: '' },
])('$title is docker-unreadable', async ({ ps, says }) => {
  if (ps) answering({ ps, inspect: 'echo \'{"a": 1}\'' })
  await expect(readContainers({ nodes: [], bin })).rejects.toMatchObject({
    code: 'docker-unreadable',
    message: expect.stringContaining(says),
  })
})
