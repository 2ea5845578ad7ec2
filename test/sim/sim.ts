import { parseArgs } from 'node:util'
import { simulate } from './simulate.ts'

// `npm run sim -- --seeds N [--seed FIRST] [--json]`: N cases from FIRST on; a seed that fails is told with its trace.
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '2000' },
    seed: { type: 'string' },
    path: { type: 'string' },
    json: { type: 'boolean', default: false },
    trace: { type: 'boolean', default: false },
    bail: { type: 'boolean', default: false },
  },
})
const seed = values.seed === undefined ? Math.floor(Math.random() * 1e9) : Number(values.seed)
const seeds = values.seed !== undefined && !process.argv.includes('--seeds') ? 1 : Number(values.seeds)
const { path, trace, bail } = values
const { failures, ...summary } = await simulate({ seeds, seed, path, trace, bail })
for (const each of failures) console.error(each)
console.log(values.json ? JSON.stringify(summary) : summary)
process.exitCode = summary.violations > 0 ? 1 : 0
