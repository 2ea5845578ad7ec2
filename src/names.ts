import { z } from 'zod'

/** The name of a service or a machine: a DNS label (RFC 1123), like the names of services in mesh.yaml. */
export const dnsLabel = z
  .string()
  .max(63)
  .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, 'expected a DNS label: a-z, 0-9 and inner hyphens, at most 63')

/**
 * The id of a request, a run, a question or a code: a ULID, a UUID, an id that the sender chose, or one that onehop derived
 * from another (`ID/redis/3/rollback`). No part begins with a dot.
 *
 * The limit of 1000 leaves room for a rollback that is lost and recovered a dozen times: its id grows each time.
 */
export const eventId = z
  .string()
  .max(1000)
  .regex(
    /^(?!__proto__$)[\w:@+=~#-][\w.:@+=~#-]*(\/[\w:@+=~#-][\w.:@+=~#-]*)*$/,
    'expected an id: letters, digits and . _ : @ + = ~ # - in parts divided by /, at most 1000',
  )
