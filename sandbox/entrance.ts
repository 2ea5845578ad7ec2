import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { addProgram, type Host } from './hosts.ts'
import { onehopProgram } from './worker.ts'

/**
 * Writes a script that runs a command on a host as that host's own user would, from a root shell outside of the sandbox,
 * and puts `onehop` on that host's PATH.
 * @returns its path
 */
export function writeEntrance({ folder }: { folder: string }, host: Host): string {
  addProgram(host, 'onehop', `#!/bin/sh\nexec ${onehopProgram.map(quoted).join(' ')} "$@"\n`)
  const script = join(folder, `on-${host.name}`)
  const env = { ...host.env, ONEHOP_MESH: join(host.home, 'mesh.yaml') }
  const given = Object.entries(env).map(([name, value]) => quoted(`${name}=${value}`))
  // What a person's terminal says about itself goes along, the rest of the machine's environment does not.
  const terminal = ['TERM', 'COLORTERM', 'NO_COLOR', 'FORCE_COLOR', 'COLUMNS', 'LANG'].map(
    (name) => `\${${name}+"${name}=$${name}"}`,
  )
  writeFileSync(
    script,
    `#!/bin/sh
# Runs a command on ${host.name}, from outside of the sandbox.
read -r outer < ${quoted(join(folder, 'outer.pid'))}
read -r first < "/proc/$outer/task/$outer/children"
exec nsenter -t "$first" -m -n -p ip netns exec ${host.name} env -i ${terminal.join(' ')} \\
  ${given.join(' \\\n  ')} \\
  sh -c 'cd "$HOME" && exec "$@"' sh "$@"
`,
    { mode: 0o755 },
  )
  return script
}

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`
