import { expect, test } from 'vitest'
import { cronProblem } from '../../../src/plan/cron.ts'

test.for(['*/15 * * * *', '0 6 * * 1-5', '5,35 0-23/2 1 jan,JUL ?', '0 0 31 12 SUN', '59 23 1/2 * 6'])(
  '%s is a schedule',
  (schedule) => expect(cronProblem(schedule)).toBeUndefined(),
)

test.for<[string, string]>([
  ['99 * * * *', 'minutes from 0 to 59, not 99'],
  ['0 24 * * *', 'hours from 0 to 23'],
  ['0 0 0 * *', 'days of the month from 1 to 31'],
  ['0 0 1 13 *', 'months from 1 to 12'],
  ['0 0 * * 7', 'days of the week from 0 to 6'],
  ['0 0 * * funday', 'days of the week from 0 to 6'],
  ['*/0 * * * *', 'minutes'],
  ['30-10 * * * *', 'minutes'],
  ['1,,2 * * * *', 'minutes'],
  ['* * * *', 'five fields'],
])('%s is none: %s', ([schedule, says]) => expect(cronProblem(schedule)).toContain(says))
