import { expect, test } from 'vitest'
import type { Probes } from '../../src/systems/probes.ts'

/**
 * What a proof needs of a probe through Caddy: it is the site's own route that answers, for that path. `make` starts Caddy
 * with a Caddyfile that is made of free ports, two upstreams that answer `one` and `two`, and one that does not.
 */
export function throughCaddyContract(
  make: (write: (of: Places) => string) => Promise<Made & AsyncDisposable>,
): void {
  const sites = ({ ports: [a, b, c], one, two, dead }: Places) => `
http://panda.test:${a} {
	reverse_proxy ${one}
}
http://panda.test:${b} {
	reverse_proxy ${dead}
}
http://localhost:${c} {
	handle /hooks/* {
		reverse_proxy ${two}
	}

	handle {
		reverse_proxy ${one}
	}
}
http://hand.test:${c} {
	respond "by hand"
}
`
  const answers = (identity: string) => expect.objectContaining({ ok: true, identity })

  test('a site answers by its upstream, or by itself', async () => {
    await using made = await make(sites)
    const { probes, ports } = made
    expect(await probes.throughCaddy(`http://panda.test:${ports[0]}`, '/')).toEqual(answers('one'))
    expect(await probes.throughCaddy(`http://hand.test:${ports[2]}`, '/')).toEqual(answers('by hand'))
  })

  test('of a site with several routes, the path says which answers', async () => {
    await using made = await make(sites)
    const site = `http://localhost:${made.ports[2]}`
    expect(await made.probes.throughCaddy(site, '/')).toEqual(answers('one'))
    expect(await made.probes.throughCaddy(site, '/hooks')).toEqual(answers('one'))
    expect(await made.probes.throughCaddy(site, '/hooks/github')).toEqual(answers('two'))
  })

  test('an upstream that does not answer is a failure, and no refusal', async () => {
    await using made = await make(sites)
    expect(await made.probes.throughCaddy(`http://panda.test:${made.ports[1]}`, '/')).toMatchObject({
      ...{ ok: false, refused: false, message: 'HTTP 502' },
    })
  })

  test('a host that Caddy does not know is answered with nothing, a port where it does not listen is refused', async () => {
    await using made = await make(sites)
    const { probes, ports } = made
    expect(await probes.throughCaddy(`http://unknown.test:${ports[0]}`, '/')).toEqual(answers(''))
    expect(await probes.throughCaddy(`http://panda.test:${ports[3]}`, '/')).toMatchObject({
      ...{ ok: false, refused: true },
    })
  })
}

type Places = { ports: number[]; one: string; two: string; dead: string }
type Made = { probes: Probes; ports: number[] }
