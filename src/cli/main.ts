#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { OnehopError } from '../errors.ts'
import { defaultMeshFile } from '../setup.ts'
import { version } from '../version.ts'
import { endProcess, takeOverEnd } from './end.ts'
import { keepHeapSmall } from './keep-heap-small.ts'
import { answer } from './output.ts'
import type { ScanFlags } from './scan.ts'

keepHeapSmall()
takeOverEnd()

// A command's code is loaded when it is called: the Kubernetes and Inngest clients take longer to load than most commands to run.
const program = new Command('onehop')
  .description(
    'Moves services from NodePort + port map + Caddy to the Tailscale operator, one reversible change at a time.',
  )
  .version(version)
  .exitOverride()
  // Errors are answered like results; the help of a command that is none by itself still goes to stderr.
  .configureOutput({ outputError: () => {} })
  .showHelpAfterError(false)

type Flags = {
  mesh: string
  json?: boolean
  yes?: boolean
  local?: boolean
  force?: boolean
  all?: boolean
  operator?: boolean
}

/** A command with the two flags that all have, whose failures are answered like its results. */
function command(parent: Command, usage: string, description: string): Command {
  return parent
    .command(usage)
    .description(description)
    .option('--mesh <file>', 'mesh.yaml (or ONEHOP_MESH)', defaultMeshFile())
    .option('--json', 'answer one JSON envelope')
}

program
  .command('scan')
  .description('write a first mesh.yaml from what is there; changes nothing')
  .option('--out <file>', 'write it there, not to stdout')
  .option('--force', 'also where there is such a file')
  .option('--namespace <names...>', 'only the Services of these')
  .option('--context <name>', 'of the kubeconfig, if not its current one')
  .option('--kubeconfig <file>')
  .option('--caddyfile <file>', 'if not ~/.local/caddy/Caddyfile or where packages put it')
  .option('--caddy-admin <url>', 'if not http://localhost:2019')
  .option('--tailnet <name>', 'if not the one that tailscale status tells')
  .option('--json', 'answer one JSON envelope')
  .action((flags: ScanFlags) => answer('scan', flags, async () => (await import('./scan.ts')).scan(flags)))
command(program, 'plan [services...]', 'what would change, with the undo beside it; touches nothing')
  .option('--out <file>', 'save the plan, for onehop migrate --plan')
  .option('--detailed-exitcode', 'exit 0: nothing to do, 2: changes, 1: an error, or a service is blocked')
  .action((services: string[], flags: Flags & { out?: string; detailedExitcode?: boolean }) =>
    answer('plan', flags, async () => (await import('./plan.ts')).plan({ ...flags, services })),
  )
command(program, 'migrate [services...]', 'move all services (or those named), in order')
  .option('--yes', 'do not ask')
  .option('--plan <file>', 'what onehop plan --out has saved, if the world has not moved since')
  .action((services: string[], flags: Flags & { plan?: string }) =>
    answer('migrate', flags, async () => (await import('./migrate.ts')).migrate({ ...flags, services })),
  )
command(program, 'expose <service>', 'move one service').action((service: string, flags: Flags) =>
  answer('expose', flags, async () => (await import('./migrate.ts')).expose({ ...flags, service })),
)
command(program, 'rollback [services...]', 'take back exactly what was done to services')
  .option('--all', 'to all that were touched')
  .option('--operator', 'with --all: then the operator goes as well')
  .option('--local', 'here and now, without engine and worker')
  .option('--force', 'put back also what somebody else has changed since')
  .action((services: string[], flags: Flags) =>
    answer('rollback', flags, async () => (await import('./rollback.ts')).rollback({ ...flags, services })),
  )
command(program, 'unexpose <service>', 'take the device name of a service away that has no old path')
  .option('--local', 'here and now, without engine and worker')
  .option('--force', 'put back also what somebody else has changed since')
  .action((service: string, flags: Flags) =>
    answer('unexpose', flags, async () => (await import('./unexpose.ts')).unexpose({ ...flags, service })),
  )
command(program, 'abort [request]', 'stop a running migration; what is not yet moved is rolled back')
  .option('--all', 'what it has moved is rolled back too')
  .action((request: string | undefined, flags: Flags) =>
    answer('abort', flags, async () => (await import('./abort.ts')).abort({ ...flags, request })),
  )
command(program, 'journal [service]', 'what was done to each service, and what can be done now').action(
  (service: string | undefined, flags: Flags) =>
    answer('journal', flags, async () => (await import('./journal.ts')).journal({ ...flags, service })),
)
command(program, 'retire <service>', 'the old path goes, once it was shown to be unused')
  .option('--force', 'although that was not shown')
  .option('--yes', 'do not ask about the apps of the engine')
  .action((service: string, flags: Flags) =>
    answer('retire', flags, async () => (await import('./retire.ts')).retire({ ...flags, service })),
  )
command(program, 'status', 'what is moved, by which paths each service answers').action((flags: Flags) =>
  answer('status', flags, async () => (await import('./status.ts')).status(flags)),
)
command(program, 'check [services...]', 'whether all that is needed is there, and what is moved is well')
  .option('--pre', 'only what must hold before a first move')
  .option('--wait [seconds]', 'look again until nothing fails (300 s if not said)')
  .option(
    '--skip <id>',
    'leave a check out, or SERVICE/ID (again for each)',
    (id: string, before: string[]) => [...before, id],
    [],
  )
  .option('--short', 'one line per group, and what does not hold')
  .action(
    (
      services: string[],
      flags: Flags & { pre?: boolean; wait?: true | string; skip: string[]; short?: boolean },
    ) => answer('check', flags, async () => (await import('./check.ts')).check({ ...flags, services })),
  )
command(program, 'drift', 'what is not as it was left; touches nothing, unless --repair')
  .option('--repair [drift...]', 'put it right: all that can be, or these (a kind, or "kind subject")')
  .option('--yes', 'do not ask')
  .option('--detailed-exitcode', 'exit 2 if there is drift')
  .action((flags: Flags & { repair?: true | string[]; detailedExitcode?: boolean }) =>
    answer('drift', flags, async () => (await import('./drift.ts')).drift(flags)),
  )
command(program, 'probe', 'on another machine: prove device names from there when the worker asks')
  .requiredOption('--as <machine>', 'its name in proveFrom of mesh.yaml')
  .option('--engine <url>', 'the engine as seen from here, if not as in mesh.yaml')
  .option('--gateway <url>', 'where the engine takes connections, if not ws://HOST:8289/v0/connect')
  .option('--once', 'look now and say what is seen; nothing is sent')
  .action((flags: Flags & { as: string; once?: boolean; engine?: string; gateway?: string }) =>
    answer('probe', flags, async () => (await import('./probe.ts')).probe(flags)),
  )
command(program, 'worker', 'run the worker that carries out the events').action((flags: Flags) =>
  answer('worker', flags, async () => (await import('./worker.ts')).worker(flags)),
)

const operator = program.command('operator').description('the Tailscale operator')
command(operator, 'install', 'install it, or find that it is there').action((flags: Flags) =>
  answer('operator install', flags, async () =>
    (await import('./operator-install.ts')).operatorInstall(flags),
  ),
)
command(operator, 'remove', 'remove it, once nothing is exposed any more').action((flags: Flags) =>
  answer('operator remove', flags, async () => (await import('./operator-remove.ts')).operatorRemove(flags)),
)

program
  .command('caddy')
  .description('the Caddyfile')
  .command('preview')
  .description("an edit of upstreams as a diff, with Caddy's verdict; changes nothing")
  .requiredOption('--file <Caddyfile>')
  .requiredOption('--from <host:port>')
  .requiredOption('--to <host:port>')
  .option('--site <address>', 'only in this site')
  .option('--bin <caddy>', 'the caddy to ask', 'caddy')
  .option('--json', 'answer one JSON envelope')
  .action((flags: { file: string; from: string; to: string; site?: string; bin: string; json?: boolean }) =>
    answer('caddy preview', flags, async () => (await import('./caddy-preview.ts')).caddyPreview(flags)),
  )

const policy = program.command('policy').description("the tailnet's policy")
command(policy, 'preview', 'what onehop would add to a policy file, as a diff; changes nothing')
  .requiredOption('--file <policy.hujson>')
  .action((flags: Flags & { file: string }) =>
    answer('policy preview', flags, async () => (await import('./policy-preview.ts')).policyPreview(flags)),
  )
command(policy, 'narrow', 'replace its rules from * to *; takes itself back unless confirmed').action(
  (flags: Flags) =>
    answer('policy narrow', flags, async () => (await import('./policy-narrow.ts')).policyNarrow(flags)),
)
command(policy, 'confirm', 'keep the narrowed policy').action((flags: Flags) =>
  answer('policy confirm', flags, async () => (await import('./policy-narrow.ts')).policyConfirm(flags)),
)
command(policy, 'widen', 'take the narrowing back, confirmed or not')
  .option('--force', 'put back also what somebody else has changed since')
  .action((flags: Flags) =>
    answer('policy widen', flags, async () => (await import('./policy-narrow.ts')).policyWiden(flags)),
  )

try {
  await program.parseAsync()
} catch (thrown) {
  if (!(thrown instanceof CommanderError)) throw thrown
  // Help and version are no errors, though commander throws for them.
  if (thrown.code === 'commander.help') process.exitCode = thrown.exitCode
  else if (thrown.exitCode !== 0) {
    const command = commandOf(process.argv.slice(2))
    const json = process.argv.includes('--json')
    await answer(command || (process.argv[2] ?? ''), { json }, async () => {
      const message = thrown.message.replace(/^error: /, '')
      if (command === '') throw new OnehopError('command-unknown', { message })
      throw new OnehopError('flag-invalid', { message, command })
    })
  }
}
await endProcess()

/** The command that the first words name: one that is mistyped has no help of its own. */
function commandOf(words: string[], parent = program): string {
  const found = parent.commands.find((each) => each.name() === words[0])
  return found ? [found.name(), commandOf(words.slice(1), found)].filter(Boolean).join(' ') : ''
}
