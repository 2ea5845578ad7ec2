import { join } from 'node:path'
import { expect } from 'vitest'
import { parse } from 'yaml'
import { programFolders } from '../../sandbox/cache.ts'
import { createHelm } from '../../src/systems/helm.ts'
import { createIngresses } from '../../src/systems/ingresses.ts'
import { createKubernetes } from '../../src/systems/kubernetes.ts'
import { createOperatorObjects } from '../../src/systems/operator-objects.ts'
import { createTailscale } from '../../src/systems/tailscale.ts'
import { meshFile, read, world } from './panda.ts'

// The real systems of the sandbox, as onehop on panda has them, for the contract suites that the simulated ones pass too.
process.env.PATH = programFolders().join(':')

const cluster = { context: 'admin@talos', kubeconfig: world.kubeconfig }
export const kubernetes = createKubernetes(cluster)
export const helm = createHelm(cluster)
export const operatorObjects = createOperatorObjects(cluster)
export const ingresses = createIngresses(cluster)

const key = (name: string) => join(world.panda.home, '.config/onehop', name)
const tailscaleAs = (id: string, secret = id) =>
  createTailscale({
    api: world.tailscaleApi,
    cli: join(world.panda.home, 'bin/tailscale'),
    credentials: { clientIdFile: key(`${id}-client-id`), clientSecretFile: key(`${secret}-client-secret`) },
  })
export const tailscale = tailscaleAs('onehop')
export const operatorClient = tailscaleAs('operator')
/** A client whose secret is another's. */
export const unknownClient = tailscaleAs('onehop', 'operator')
export const operatorCredentials = () => ({
  id: read(key('operator-client-id')).trim(),
  secret: read(key('operator-client-secret')).trim(),
})

/** What mesh.yaml says of the operator. */
export const operatorOf = (): { chart: string; version: string; values: Record<string, object> } =>
  parse(read(meshFile)).operator

/** What takes a pod and a login takes some time here. */
export const poll = <T>(look: () => Promise<T>) => expect.poll(look, { timeout: 90_000, interval: 200 })
