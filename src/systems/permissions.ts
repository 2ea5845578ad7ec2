import { access, constants, stat } from 'node:fs/promises'
import { messageOf, OnehopError } from '../errors.ts'

/** The permissions of a file, like 0o600. @throws OnehopError credentials-missing */
export async function permissionsOf(file: string): Promise<number> {
  const { mode } = await stat(file).catch((thrown: unknown) => {
    throw new OnehopError('credentials-missing', { file, message: messageOf(thrown) }, { cause: thrown })
  })
  return mode & 0o777
}

/** @throws OnehopError journal-unwritable */
export async function expectWritable(folder: string): Promise<void> {
  await access(folder, constants.W_OK).catch((thrown: unknown) => {
    throw new OnehopError('journal-unwritable', { folder, message: messageOf(thrown) }, { cause: thrown })
  })
}
