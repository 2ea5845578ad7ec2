import type { ChangeRecord, Entry, State } from '../journal-records.ts'

/**
 * What can be done with a service in each state of its life. One without an old path has nothing to retire, and one that
 * fell back to it must be moved again first.
 */
export function commandsFrom(
  state: State | 'planned',
  service: string,
  { oldPath = true, fellBack = false } = {},
): string[] {
  switch (state) {
    case 'planned':
    case 'restored':
      return [`onehop expose ${service}`]
    case 'exposing':
      return ['onehop status', 'onehop abort', `onehop rollback ${service}`]
    case 'moved':
      if (fellBack) return [`onehop expose ${service}`, `onehop rollback ${service}`]
      return oldPath
        ? [`onehop rollback ${service}`, `onehop retire ${service}`]
        : [`onehop unexpose ${service}`]
    case 'retiring':
      return ['onehop status', `onehop rollback ${service}`]
    case 'retired':
      return [`onehop rollback ${service}`]
    case 'rolling-back':
      return ['onehop status', `onehop rollback ${service} --local`]
    case 'rollback-incomplete':
      return [`onehop rollback ${service}`, `onehop rollback ${service} --force`]
    default:
      return state satisfies never
  }
}

/** The change of a service that was made and is not undone. */
export const standingChange = (entry: Entry | undefined, id: ChangeRecord['id'] | undefined) =>
  entry?.changes.find((each) => each.id === id && !each.undone)
