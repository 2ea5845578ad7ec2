import { readInTime } from '../disk.ts'
import { messageOf, OnehopError } from '../errors.ts'

/**
 * A secret from its file, trimmed: editors add a newline, and the operator would send it to Tailscale as part of the secret.
 * What is returned goes into a request header or a Secret and nowhere else.
 *
 * @throws OnehopError credentials-missing, naming the file
 */
export async function readCredential(file: string): Promise<string> {
  const text = await readInTime(file)
    .then(String)
    .catch((thrown: unknown) => {
      throw new OnehopError('credentials-missing', { file, message: messageOf(thrown) }, { cause: thrown })
    })
  if (text.trim() === '') throw new OnehopError('credentials-missing', { file, message: 'the file is empty' })
  return text.trim()
}

/** An OAuth client from its two files. @throws OnehopError credentials-missing, naming the file */
export async function readClient({
  clientIdFile,
  clientSecretFile,
}: {
  clientIdFile: string
  clientSecretFile: string
}): Promise<{ id: string; secret: string }> {
  // One after the other: who asks twice hears of the same file.
  const id = await readCredential(clientIdFile)
  return { id, secret: await readCredential(clientSecretFile) }
}
