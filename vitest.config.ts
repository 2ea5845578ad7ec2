import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

// One more than there are cores: many unit tests wait for a deadline, and the simulations only compute.
const maxWorkers = availableParallelism() + 1

const project = (name: string, more = {}) => ({
  test: { name, include: [`test/${name}/**/*.test.ts`], ...more },
})

export default defineConfig({
  test: {
    // A failure on another machine is seen by its message alone.
    chaiConfig: { truncateThreshold: 2000 },
    projects: [
      project('unit', { testTimeout: 180_000, maxWorkers }),
      // They only compute: how long that takes is the machine's load, and says nothing.
      project('sim', { testTimeout: 1_800_000, maxWorkers }),
      project('caddy', { testTimeout: 60_000, hookTimeout: 60_000 }),
      // One world, one machine: these files run one after the other.
      project('machine', {
        testTimeout: 180_000,
        hookTimeout: 180_000,
        fileParallelism: false,
        maxWorkers: 1,
      }),
      project('real', {
        testTimeout: 240_000,
        hookTimeout: 240_000,
        fileParallelism: false,
        maxWorkers: 1,
        globalSetup: 'test/real/boot.ts',
        // Real servers on a machine that others use, too: what is broken fails twice, and the first failure is shown.
        retry: 1,
      }),
    ],
  },
})
