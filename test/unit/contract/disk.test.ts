import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe } from 'vitest'
import { createMachineDisk } from '../../../simulated/disk.ts'
import { undisturbed } from '../../../simulated/effect.ts'
import { realDisk } from '../../../src/disk.ts'
import { diskContract } from '../../contract/disk.ts'

describe('the real disk', () =>
  diskContract(async () => {
    const folder = await mkdtemp(join(await realpath(tmpdir()), 'onehop-disk-'))
    return { disk: realDisk, folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) }
  }))

describe("the simulation's disk", () =>
  diskContract(async () => {
    const machine = createMachineDisk(undisturbed)
    machine.put('/panda/folder/.kept', '')
    const disk = machine.handle({ name: 'test', alive: true })
    await disk.rm('/panda/folder/.kept', { force: true })
    return { disk, folder: '/panda/folder', [Symbol.asyncDispose]: async () => undefined }
  }))
