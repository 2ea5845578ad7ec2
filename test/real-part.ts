import { readdirSync } from 'node:fs'
import { join } from 'node:path'

/** The projects whose tests need the real servers of the sandbox. */
export const realProjects = ['caddy', 'machine', 'real'] as const

/** What the tests on real servers are about, for a person who did not run them. */
export const whatRealAdds =
  'the same migrations, rollbacks, crashes and refusals on the real Kubernetes, Tailscale operator, Headscale, Inngest and Caddy'

/** How many test files need the real servers. Their tests cannot be counted without a sandbox: many are made in it. */
export const countRealFiles = (root: string) =>
  realProjects.flatMap((project) =>
    readdirSync(join(root, 'test', project)).filter((file) => file.endsWith('.test.ts')),
  ).length

/**
 * Whether the tests on real servers run. `refuse` is a failure: they were asked for, or nothing may be left out.
 *
 * Left out silently is what must not happen: CI leaves nothing out where they can run, and everybody else is told why.
 */
export function decideReal({ asked, ci, unfit, lacking, missing }: Machine): Decision {
  if (unfit) return asked ? { refuse: unfit } : { skip: unfit }
  const must = asked || ci
  if (!must && missing.length > 0) return { skip: `they are not built yet (missing: ${missing.join('; ')})` }
  if (lacking.length > 0) {
    const why = `this machine lacks ${lacking.join('; ')}`
    return must ? { refuse: why } : { skip: why }
  }
  return 'run'
}

type Machine = {
  /** By `npm run test:real`. */
  asked: boolean
  /** No person watches, and nothing may be left out. */
  ci: boolean
  /** Why this platform or user can never run them. */
  unfit: string | undefined
  /** Programs that the machine lacks. */
  lacking: string[]
  /** Servers that are not in the cache. */
  missing: string[]
}
export type Decision = 'run' | { skip: string } | { refuse: string }
