import { bad, good, type Judge, unless, wasRead } from './check-judge.ts'
import { exposedElsewhere } from './exposed-by-hand.ts'

/** The cluster as a whole. */
export const clusterChecks = {
  'cluster-answers': wasRead('cluster-answers', ({ mesh }) => mesh.kubernetes.context),
  'cluster-readable': wasRead('cluster-readable'),
  'cluster-writable': wasRead('cluster-writable'),
  'cluster-same': ({ problems }) => unless(problems().find(({ code }) => code === 'cluster-changed')),
  'exposed-elsewhere': ({ mesh, facts }) => {
    const others = exposedElsewhere(mesh, facts.snapshot).map(
      ({ object, manager }) => `${object} (${manager})`,
    )
    return others.length > 0 ? bad({ services: others.join(', ') }) : good()
  },
} satisfies Record<string, Judge>
