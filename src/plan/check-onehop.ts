import { isLost } from '../journal-records.ts'
import { bad, failed, good, type Judge, wasRead } from './check-judge.ts'

/** onehop's own state on this machine. */
export const onehopChecks = {
  'state-usable': wasRead('state-usable', ({ mesh }) => mesh.state),
  'journal-readable': wasRead('journal-readable'),
  'key-files-private': ({ facts }) => {
    const open = facts.keyFiles.filter(({ mode }) => (mode & 0o077) !== 0)
    return open.length > 0 ? bad({ files: open.map(({ file }) => file).join(' ') }) : good()
  },
  'requests-alive': ({ facts }) => {
    const [lost] = facts.requests.filter(isLost)
    if (!lost) return good()
    const { id: request, phase = 'its start', deadline } = lost
    return failed('run-lost', { request, phase, deadline })
  },
} satisfies Record<string, Judge>
