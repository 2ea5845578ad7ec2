import { createCaddy } from '../../../src/systems/caddy.ts'
import { createCaddyAdmin } from '../../../src/systems/caddy-admin.ts'
import { caddyContract } from '../../contract/caddy.ts'
import { createMachineDisk } from '../../sim/disk.ts'
import { idle } from '../../sim/idle.ts'
import { adaptCaddyfile, createMemoryCaddy } from '../../sim/memory/caddy-admin.ts'

caddyContract(async (write) => {
  const file = '/panda/Caddyfile'
  const ports = [7001, 7002, 7003]
  const machine = createMachineDisk(idle)
  machine.put(file, write(ports))
  const memory = createMemoryCaddy(() => undefined)
  memory.start(adaptCaddyfile(write(ports)))
  const by = { name: 'test', alive: true }
  const admin = 'http://sim:2019'
  const call = memory.call(idle.effect, by)
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
