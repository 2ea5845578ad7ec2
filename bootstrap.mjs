// Starts one of the project's scripts: `node bootstrap.mjs FILE [ARG ...]`, or `node bootstrap.mjs npx TOOL ...`.
// It depends on nothing and runs on Node 20, because it is what installs the dependencies and finds the Node
// (24, from the toolchain workspace, where this machine's own is older) that everything else is written for.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { isatty } from 'node:tty'
import { fileURLToPath } from 'node:url'

const root = dirname(fileURLToPath(import.meta.url))
const [script, ...args] = process.argv.slice(2)
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
const recent = major > 22 || (major === 22 && minor >= 19)

if (process.platform === 'win32') refuse('onehop does not run on Windows: use it in WSL 2.')
// Only Linux has a Node in the toolchain. Elsewhere this is known before anything is installed.
if (!recent && process.platform !== 'linux') refuseNode()
installDependencies()
run(findNode())

function installDependencies() {
  const stamp = join(root, 'node_modules', '.installed-lock')
  // A checkout may be shared with a virtual machine of another platform, and some packages are a platform's own.
  const wanted = `${process.platform}-${process.arch}\n${readFileSync(join(root, 'package-lock.json'), 'utf8')}`
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  console.error(
    'First the npm packages, once per checkout: 220 MB of download, 750 MB of disk, about a minute.',
  )
  if (buildsServers())
    console.error(
      'Then the real servers, once per machine unless they are in the cache: about 20 minutes, 18 GB of disk, as root on Linux.',
    )
  // Gone before the first change: what is cut short is not installed.
  rmSync(stamp, { force: true })
  // `npm install`, not `npm ci`: ci refuses a lock file that lacks other platforms' optional packages, and a registry
  // mirror need not have those. --no-save keeps the lock file as it is; its versions are what gets installed.
  // --include: whatever NODE_ENV or a .npmrc leaves out, this needs. Output goes to stderr: with --json the last line
  // of stdout belongs to the answer.
  const quiet = ['--no-save', '--no-audit', '--no-fund', '--no-progress', '--loglevel=error']
  const npm = spawnSync('npm', ['install', ...quiet, '--include=dev', '--include=optional'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
    env: { ...process.env, npm_config_update_notifier: 'false' },
  })
  if (npm.error)
    refuse(`npm cannot be started (${npm.error.message}). It comes with Node: https://nodejs.org.`, 1)
  if (npm.status !== 0)
    refuse(
      `\`npm install\` failed (see above). It must reach the npm registry or its own cache once, and write to ${root}. Then run this command again.`,
      1,
    )
  writeFileSync(stamp, wanted)
}

/** Whether this command builds the real servers where they are not in the cache: see test/real-part.ts. */
function buildsServers() {
  if (script === 'sandbox/demo.ts') return !args.includes('--clean')
  if (script !== 'test/run.ts') return false
  const ci = !/^(|0|false)$/i.test(process.env.CI ?? '')
  return (
    args[0] === 'real' || (args.length === 0 && ci && process.platform === 'linux' && process.getuid() === 0)
  )
}

/** Node 24: this one, or that of the toolchain where it runs here; else this one, if it can run TypeScript. */
function findNode() {
  if (major >= 24) return process.execPath
  try {
    const require = createRequire(join(root, 'toolchain', 'package.json'))
    const found = require.resolve(`node-${process.platform}-${process.arch}/package.json`)
    const node = join(dirname(found), 'bin', 'node')
    // It is built for glibc.
    if (spawnSync(node, ['--version']).status === 0) return node
  } catch {
    // No such package: it has none for this platform.
  }
  return recent ? process.execPath : refuseNode()
}

function run(node) {
  const command =
    script === 'npx' ? [join(root, 'node_modules', '.bin', args.shift() ?? '')] : [join(root, script ?? '')]
  const env = {
    ...process.env,
    PATH: [dirname(node), join(root, 'node_modules', '.bin'), process.env.PATH].join(delimiter),
  }
  // Under `nohup` there is no terminal, and SIGHUP is to be ignored; Node has taken that back.
  const terminal = [0, 1, 2].some((stream) => isatty(stream))
  const child = spawn(node, ['--disable-warning=ExperimentalWarning', ...command, ...args], {
    stdio: 'inherit',
    env,
  })
  // The child decides what a signal means (the sandbox takes itself down); we only wait for it.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.on(signal, () => {
      if (signal !== 'SIGHUP' || terminal) child.kill(signal)
    })
  child.on('error', (error) => refuse(`${node} cannot be started (${error.message}).`, 1))
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
}

function refuseNode() {
  refuse(
    `onehop needs Node 22.19 or newer; this is ${process.versions.node}. Install it from https://nodejs.org.`,
  )
}

function refuse(why, code = 2) {
  console.error(why)
  process.exit(code)
}
