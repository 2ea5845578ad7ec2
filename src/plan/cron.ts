/** Why a schedule of five fields is none, as the engine (robfig/cron) reads it; `undefined` if it is one. */
export function cronProblem(schedule: string): string | undefined {
  const parts = schedule.split(' ')
  if (parts.length !== fields.length) return 'expected five fields, like */15 * * * *'
  const wrong = fields.findIndex((field, index) => !(parts[index] ?? '').split(',').every(isIn(field)))
  const field = fields[wrong]
  if (!field) return undefined
  return `expected ${field.name} from ${field.from} to ${field.to}, not ${parts[wrong] ?? 'nothing'}`
}

type Field = { name: string; from: number; to: number; words?: string[] }

const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const fields: Field[] = [
  { name: 'minutes', from: 0, to: 59 },
  { name: 'hours', from: 0, to: 23 },
  { name: 'days of the month', from: 1, to: 31 },
  { name: 'months', from: 1, to: 12, words: months },
  { name: 'days of the week', from: 0, to: 6, words: ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] },
]

/** `*`, a value, or a range of values, each with a step or without. */
const isIn =
  ({ from, to, words = [] }: Field) =>
  (part: string): boolean => {
    const [, first, last, step] = /^(\*|\?|\d+|[a-z]+)(?:-(\d+|[a-z]+))?(?:\/(\d+))?$/i.exec(part) ?? []
    const numberOf = (text: string) => {
      const word = words.indexOf(text.toLowerCase())
      return word < 0 ? Number(text) : word + from
    }
    const isValue = (text: string) => numberOf(text) >= from && numberOf(text) <= to
    if (first === undefined || (step !== undefined && Number(step) === 0)) return false
    if (first === '*' || first === '?') return last === undefined
    if (last === undefined) return isValue(first)
    return isValue(first) && isValue(last) && numberOf(first) <= numberOf(last)
  }
