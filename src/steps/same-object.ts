import { OnehopError } from '../errors.ts'

/**
 * The object that was recorded, as it is now.
 *
 * @throws OnehopError service-missing; service-recreated, if another one bears its name
 */
export function sameObject<T extends { uid: string }>(
  now: T | undefined,
  recorded: { namespace: string; name: string; uid: string },
  service: string,
): T {
  const object = `${recorded.namespace}/${recorded.name}`
  if (!now) throw new OnehopError('service-missing', { object })
  if (now.uid !== recorded.uid)
    throw new OnehopError('service-recreated', {
      object,
      service,
      expected: recorded.uid,
      found: now.uid,
    })
  return now
}
