import { z } from 'zod'

/** The name of a service or of a machine: a DNS label (RFC 1123), as the keys of mesh.yaml's services are. */
export const dnsLabel = z
  .string()
  .max(63)
  .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, 'expected a DNS label: a-z, 0-9 and inner hyphens, at most 63')

/**
 * The id of a request, a run, a question or a code: a ULID, a UUID, one of the sender's own, or one that onehop derived from
 * such an id (`ID/redis/3/rollback`). No part begins with a dot, so no id looks like a way out of a folder.
 *
 * The length leaves room for a rollback that was lost, taken up and lost again a dozen times: each time its id grows.
 */
export const eventId = z
  .string()
  .max(1000)
  .regex(
    /^(?!__proto__$)[\w:@+=~#-][\w.:@+=~#-]*(\/[\w:@+=~#-][\w.:@+=~#-]*)*$/,
    'expected an id: letters, digits and . _ : @ + = ~ # - in parts divided by /, at most 1000',
  )
