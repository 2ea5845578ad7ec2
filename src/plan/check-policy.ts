import { bad, good, type Judge, unless, wasRead } from './check-judge.ts'
import { lookup } from './lookup.ts'
import { selectServices } from './mesh.ts'
import { tagsToSpare } from './plan.ts'
import { wideOpen } from './policy-wide-open.ts'

/** The policy of the tailnet, as far as it is about all services. */
export const policyChecks = {
  'policy-parses': wasRead('policy-parses'),
  'policy-edited-here': (view) =>
    // Where no service says who may reach it, onehop writes nothing into it.
    selectServices(view.mesh).some(({ allow }) => allow.length > 0)
      ? wasRead('policy-edited-here')(view)
      : undefined,
  'policy-has-rules': ({ mesh, problems }) =>
    unless(
      selectServices(mesh)
        .flatMap((each) => problems(each))
        .find(({ code }) => code === 'policy-without-rules'),
    ),
  'operator-tag-defined': ({ mesh, facts: { snapshot } }) => {
    const { tag } = mesh.operator
    return lookup(snapshot).tagOwners()?.has(tag) ? good(tag) : bad({ tag })
  },
  'policy-narrow': ({ facts: { snapshot } }) => {
    const [wide] = wideOpen(snapshot.policy ?? '{}')
    return wide ? bad(wide) : good()
  },
  'tags-needed': ({ mesh, facts: { snapshot } }) => {
    const tags = tagsToSpare(mesh, snapshot)
    return tags.length > 0 ? bad({ owner: mesh.operator.tag, tags: tags.join(', ') }) : good()
  },
} satisfies Record<string, Judge>
