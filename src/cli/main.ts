#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { OnehopError } from '../errors.ts'
import { defaultMeshFile } from '../load-mesh.ts'
import { answer } from './output.ts'

// A command's code is loaded when it is called: the Kubernetes and Inngest clients take longer to load than most commands to run.
const program = new Command('onehop')
  .description(
    'Moves services from NodePort + port map + Caddy to the Tailscale operator, one reversible change at a time.',
  )
  .exitOverride()
  .configureOutput({ writeErr: () => {} })
  .showHelpAfterError(false)

type Flags = { mesh: string; json?: boolean; yes?: boolean; local?: boolean }

/** A command with the two flags that all have, whose failures are answered like its results. */
function command(parent: Command, usage: string, description: string): Command {
  return parent
    .command(usage)
    .description(description)
    .option('--mesh <file>', 'mesh.yaml (or ONEHOP_MESH)', defaultMeshFile())
    .option('--json', 'answer one JSON envelope')
}

command(program, 'plan [services...]', 'what would change, with the undo beside it; touches nothing').action(
  (services: string[], flags: Flags) =>
    answer('plan', flags, async () => (await import('./plan.ts')).plan({ ...flags, services })),
)
command(program, 'migrate [services...]', 'move all services (or those named), in order')
  .option('--yes', 'do not ask')
  .action((services: string[], flags: Flags) =>
    answer('migrate', flags, async () => (await import('./migrate.ts')).migrate({ ...flags, services })),
  )
command(program, 'expose <service>', 'move one service').action((service: string, flags: Flags) =>
  answer('expose', flags, async () => (await import('./migrate.ts')).expose({ ...flags, service })),
)
command(program, 'rollback <service>', 'take back exactly what was done to a service')
  .option('--local', 'here and now, without engine and worker')
  .action((service: string, flags: Flags) =>
    answer('rollback', flags, async () => (await import('./rollback.ts')).rollback({ ...flags, service })),
  )
command(program, 'status', 'what is moved, by which paths each service answers').action((flags: Flags) =>
  answer('status', flags, async () => (await import('./status.ts')).status(flags)),
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

try {
  await program.parseAsync()
} catch (thrown) {
  if (!(thrown instanceof CommanderError)) throw thrown
  // Help and version are no errors, though commander throws for them.
  if (thrown.exitCode !== 0) {
    const name = process.argv[2] ?? ''
    const json = process.argv.includes('--json')
    await answer(name, { json }, async () => {
      throw new OnehopError('flag-invalid', {
        message: thrown.message.replace(/^error: /, ''),
        command: name,
      })
    })
  }
}
