import points from './points.json' with { type: 'json' }

/** Every kill: at each point of a move and of a rollback, before and after it, whoever it can hurt. */
export function allCases(): Case[] {
  return stories.flatMap((story) =>
    points[story].flatMap((point) =>
      victimsAt(point).flatMap((victim) =>
        (['before', 'after'] as const).map((when) => ({
          story,
          point,
          when,
          victim,
          link: 'serve' as const,
        })),
      ),
    ),
  )
}

/** Kills that are enough to see that the machinery works, about one of each kind. */
export const sampleCases = (): Case[] =>
  [
    { story: 'move', victim: 'worker', when: 'after', point: /kubernetes PATCH/ },
    { story: 'rollback', victim: 'worker', when: 'before', point: /> Caddyfile/ },
    { story: 'move', victim: 'engine', when: 'after', point: /POST \/load/ },
    { story: 'rollback', victim: 'engine', when: 'before', point: /kubernetes PATCH/ },
    { story: 'move', victim: 'caddy', when: 'before', point: /POST \/load/ },
  ].map(({ point, ...wanted }) => {
    const found = allCases().find(
      (each) =>
        point.test(each.point) &&
        Object.entries(wanted).every(([key, value]) => each[key as 'when'] === value),
    )
    if (!found) throw new Error(`no point of a ${wanted.story} is like ${point}`)
    return found
  })

/** Connect's own way through the same code: a kill in the middle of each story. */
export const connectCases = (): Case[] =>
  allCases()
    .filter(
      ({ victim, when, point }) =>
        victim === 'worker' && when === 'after' && point.includes('kubernetes PATCH'),
    )
    .map((each) => ({ ...each, link: 'connect' }))

export const stories = ['move', 'rollback'] as const
export type Story = (typeof stories)[number]
export type Victim = 'worker' | 'engine' | 'apiserver' | 'caddy' | 'operator' | 'tailnet'
export type Case = {
  story: Story
  point: string
  when: 'before' | 'after'
  victim: Victim
  /** How the engine reaches the worker. */
  link: 'serve' | 'connect'
}

export const nameOf = ({ story, point, when, victim, link }: Case) =>
  `${story}: ${victim} ${when} ${point}${link === 'connect' ? ', by connect' : ''}`

/** Worker and engine everywhere; the others where they are written to, or asked for a proof. */
function victimsAt(point: string): Victim[] {
  // The engine has no part in it: what it could lose there it can lose at the next point as well.
  if (point.startsWith('tailscale ')) return ['tailnet']
  if (point.includes('> kubernetes ')) return ['worker', 'engine', 'apiserver', 'operator']
  if (point.includes('> tailscale POST acl')) return ['worker', 'engine', 'tailnet']
  if (/> (Caddyfile|POST \/load)/.test(point)) return ['worker', 'engine', 'caddy']
  return ['worker', 'engine']
}
