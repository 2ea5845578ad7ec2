// Starts one of the project's scripts: `node bootstrap.mjs FILE [ARG ...]`, or `node bootstrap.mjs npx TOOL ...`.
// It depends on nothing and runs on Node 20, because it is what installs the dependencies and finds the Node
// (24, from the toolchain workspace, where this machine's own is older) that everything else is written for.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(fileURLToPath(import.meta.url))
const [script, ...args] = process.argv.slice(2)

installDependencies()
run()

function installDependencies() {
  const stamp = join(root, 'node_modules', '.installed-lock')
  const lock = readFileSync(join(root, 'package-lock.json'), 'utf8')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return
  console.error('First the npm dependencies: once per checkout, 300 MB, about a minute.')
  if (/^(sandbox|test\/run)/.test(script ?? '') && args[0] !== 'unit') {
    console.error(
      'Then the real servers, once per machine unless they are in the cache: about 20 minutes, 18 GB of disk, as root on Linux.',
    )
    console.error('Without the servers, anywhere, in seconds: npm run tour')
  }
  // `npm install`, not `npm ci`: ci refuses a lock file that lacks other platforms' optional packages, and a registry
  // mirror need not have those. --no-save keeps the lock file as it is; its versions are what gets installed.
  // Output goes to stderr: with --json the last line of stdout belongs to the answer.
  const install = ['install', '--no-save', '--no-audit', '--no-fund', '--no-progress', '--loglevel=error']
  const npm = spawnSync('npm', install, { cwd: root, stdio: ['ignore', 2, 2] })
  if (npm.status !== 0) {
    console.error(
      'onehop: `npm install` failed (see above). The npm registry must be reachable once; then run this command again.',
    )
    process.exit(1)
  }
  writeFileSync(stamp, lock)
}

/** Node 24 from the toolchain, else this one where it can run TypeScript (22.19 and up). */
function findNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major >= 24) return process.execPath
  try {
    const require = createRequire(join(root, 'toolchain', 'package.json'))
    return join(
      dirname(require.resolve(`node-${process.platform}-${process.arch}/package.json`)),
      'bin',
      'node',
    )
  } catch {
    if (major === 22 && minor >= 19) return process.execPath
    console.error(
      `onehop needs Node 22.19 or newer; this is ${process.versions.node}. Install it from https://nodejs.org.`,
    )
    process.exit(2)
  }
}

function run() {
  const node = findNode()
  const command =
    script === 'npx' ? [join(root, 'node_modules', '.bin', args.shift() ?? '')] : [join(root, script ?? '')]
  const env = {
    ...process.env,
    PATH: `${dirname(node)}:${join(root, 'node_modules', '.bin')}:${process.env.PATH}`,
  }
  const child = spawn(node, ['--disable-warning=ExperimentalWarning', ...command, ...args], {
    stdio: 'inherit',
    env,
  })
  // The child decides what a signal means (the sandbox takes itself down); we only wait for it.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)))
}
