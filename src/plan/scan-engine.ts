import type { Answers } from './scan-inventory.ts'
import type { Question } from './scan-questions.ts'

/**
 * Which service is the Inngest server: the one on whose port an Inngest server answered; where none did, the one that
 * looks like it. Where several are as likely, none is.
 */
export function findEngine(services: Candidate[], answers: Answers): Engine {
  const speaking = services.flatMap((each) => {
    const port = each.ports.find(({ portMap }) => isInngest(answers, portMap))
    return port ? [{ ...each, api: port }] : []
  })
  const alike = services.flatMap((each) => {
    const api = each.ports.find(({ port }) => port === 8288)
    const connect = each.ports.some(({ port }) => port === 8289)
    const first = each.ports[0]
    if (api && connect) return [{ ...each, api, why: 'it has the ports 8288 and 8289' }]
    return each.service.includes('inngest') && first
      ? [{ ...each, api: api ?? first, why: 'its name says so' }]
      : []
  })
  const [only, another] = speaking.length > 0 ? speaking : alike
  if (!only) return { url: `http://localhost:8288`, questions: [none] }
  const url = `http://localhost:${only.api.portMap}`
  if (another) {
    const names = (speaking.length > 0 ? speaking : alike).map(({ name }) => name)
    return { url, questions: [several(names)] }
  }
  if (speaking.length > 0) {
    const why = `localhost:${only.api.portMap} answers as an Inngest server (X-Inngest-Server-Kind)`
    return { url, service: only.name, why, questions: [] }
  }
  return { url, service: only.name, why: likely(alike), questions: [guessed(only.name, likely(alike))] }
}

export type Engine = { url: string; service?: string; why?: string; questions: Question[] }
type Candidate = { name: string; service: string; ports: Array<{ port: number; portMap: number }> }

const isInngest = (answers: Answers, port: number) => {
  const spoken = answers.get(port)
  return spoken !== undefined && 'inngest' in spoken && spoken.inngest
}
const likely = (alike: Array<{ why: string }>) => alike[0]?.why ?? ''

const none: Question = {
  ask: 'no Service here looks like an Inngest server, and onehop runs on one. Where is it?',
  choices: [
    'url: the address at which this machine reaches it',
    'one of the services below: engine: true there, so that it is moved last',
  ],
}
const several = (names: string[]): Question => ({
  ask: `${names.join(' and ')} all look like Inngest servers. Which one runs onehop?`,
  choices: ['url: its port of this machine, and engine: true at that service, so that it is moved last'],
})
const guessed = (name: string, why: string): Question => ({
  ask: `${name} was taken for the Inngest server as ${why}; it did not answer as one. Is it?`,
  choices: [
    'yes: leave it',
    `no: take engine: true out of ${name}, and write where the Inngest server is to url`,
  ],
})
