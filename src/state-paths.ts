import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { OnehopError } from './errors.ts'
import { dnsLabel } from './names.ts'

declare const checked: unique symbol
/** A path in the state folder. Only `statePath` makes one, and records are read, written and locked by nothing else. */
export type StatePath = string & { readonly [checked]: true }

/** Whether a name can only be a file of the folder that it is joined to: no separator, no leading dot, not too long. */
export const isFileName = (name: string) => /^[\w-][\w.-]{0,199}$/.test(name)

/** @throws Error if a part is not a plain file name: the path could lead out of the folder */
export function statePath(folder: string, ...parts: string[]): StatePath {
  for (const part of parts)
    if (!isFileName(part))
      throw new Error(`${JSON.stringify(part.slice(0, 80))} cannot name a file in the state folder ${folder}`)
  return join(folder, ...parts) as StatePath
}

/** Where each record of a state folder is kept. @throws OnehopError service-name-invalid */
export function statePaths(folder: string) {
  const byService = (part: string, service: string) =>
    statePath(folder, part, `${expectServiceName(service)}.json`)
  const byId = (part: string, id: string) => statePath(folder, part, `${fileNameOf(id)}.json`)
  return {
    folders: (['services', 'requests', 'codes', 'usage'] as const).map((part) => statePath(folder, part)),
    services: statePath(folder, 'services'),
    requests: statePath(folder, 'requests'),
    service: (name: string) => byService('services', name),
    usage: (name: string) => byService('usage', name),
    request: (id: string) => byId('requests', id),
    code: (code: string) => byId('codes', code),
    /** A record of which there is one, such as `policy`. */
    document: (name: string) => statePath(folder, `${name}.json`),
    lock: (name: string) => statePath(folder, name),
  }
}

function expectServiceName(name: string): string {
  if (dnsLabel.safeParse(name).success) return name
  throw new OnehopError('service-name-invalid', { service: JSON.stringify(String(name).slice(0, 80)) })
}

/**
 * Ids come from the senders of events, and each needs a file of its own. An id that is no plain word is kept under its hash;
 * so is one that looks like a hash, in upper case too, or it would be taken for the id that has this hash.
 */
const fileNameOf = (id: string) =>
  /^[\w-]{1,100}$/.test(id) && !/^[0-9a-f]{64}$/i.test(id)
    ? id
    : createHash('sha256').update(id).digest('hex')
