import { resolve } from 'node:path'
import { readInTime, realDisk, replaceFile } from '../disk.ts'
import { messageOf, OnehopError } from '../errors.ts'

/** Writes a saved plan: the old file or the whole new one stands there, for its owner alone. @throws OnehopError plan-unwritable */
export async function writePlanFile(file: string, text: string): Promise<void> {
  await replaceFile(realDisk, { path: resolve(file), mode: 0o600 }, text).catch((thrown: unknown) => {
    throw new OnehopError('plan-unwritable', { file, message: messageOf(thrown) }, { cause: thrown })
  })
}

/** @throws OnehopError plan-unreadable */
export const readPlanFile = (file: string): Promise<string> =>
  readInTime(file)
    .then(String)
    .catch((thrown: unknown) => {
      throw new OnehopError('plan-unreadable', { file, message: messageOf(thrown) }, { cause: thrown })
    })
