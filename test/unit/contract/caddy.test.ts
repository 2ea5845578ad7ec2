import { adaptCaddyfile } from '../../../simulated/adapt-caddyfile.ts'
import { createMemoryCaddy } from '../../../simulated/caddy-admin.ts'
import { createMachineDisk } from '../../../simulated/disk.ts'
import { undisturbed } from '../../../simulated/effect.ts'
import { createCaddy } from '../../../src/systems/caddy.ts'
import { createCaddyAdmin } from '../../../src/systems/caddy-admin.ts'
import { caddyContract } from '../../contract/caddy.ts'

caddyContract(async (write) => {
  const file = '/panda/Caddyfile'
  const ports = [7001, 7002, 7003]
  const machine = createMachineDisk(undisturbed)
  machine.put(file, write(ports))
  const memory = createMemoryCaddy(() => undefined)
  memory.start(adaptCaddyfile(write(ports)))
  const by = { name: 'test', alive: true }
  const admin = 'http://sim:2019'
  const call = memory.call(undisturbed.effect, by)
  return {
    caddy: createCaddy({
      file,
      admin,
      disk: machine.handle(by),
      server: createCaddyAdmin({ admin, file, call }),
      adapter: async (text) => adaptCaddyfile(text),
    }),
    ports,
    text: async () => machine.peek(file) ?? '',
    edit: async (text) => machine.put(file, text),
    [Symbol.asyncDispose]: async () => undefined,
  }
})
