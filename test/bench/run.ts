import { parseArgs } from 'node:util'
import { isInside, runInside } from '../../sandbox/enter.ts'
import { prepareOrExit } from '../../sandbox/prepare.ts'
import { load } from './load.ts'
import { scale } from './scale.ts'

// npm run bench -- load [--requests N] [--minutes N] [--json]   what fails on a path while it is advertised
// npm run bench -- scale [--json]                               what commands cost with 10, 100 and 1,000 services
// Measured on the real servers of the sandbox. The last line of stdout is JSON.
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean' },
    requests: { type: 'string', default: '100000' },
    minutes: { type: 'string', default: '20' },
  },
})

const benches = {
  load: async () => {
    const result = await load({ requests: Number(values.requests), minutes: Number(values.minutes) })
    return { result, table: result.paths }
  },
  scale: async () => {
    const result = await scale()
    const rows = Object.entries(result).flatMap(([command, all]) => all.map((each) => ({ command, ...each })))
    return { result, table: rows }
  },
}
const bench = Object.entries(benches).find(([name]) => name === positionals[0])?.[1]

if (!bench) {
  console.error('usage: npm run bench -- load|scale [--requests N] [--minutes N] [--json]')
  process.exitCode = 2
} else if (isInside()) {
  const { result, table } = await bench()
  if (!values.json) console.table(table)
  console.log(JSON.stringify(result))
} else {
  await prepareOrExit()
  process.exitCode = await runInside(process.argv[1] ?? '', process.argv.slice(2))
}
