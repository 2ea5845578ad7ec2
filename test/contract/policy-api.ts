import { expect, test } from 'vitest'
import type { Systems } from '../../src/systems/systems.ts'

/**
 * What onehop needs of the API of the tailnet's policy. `make` gives a tailnet with a device `panda` (100.64.0.1) of joel@,
 * whose first policy comes back at the end.
 *
 * Tailscale's own API is in no test. In the sandbox, sandbox/tailscale-api.ts replaces it in front of a real
 * Headscale, which judges the policy and its tests; what Tailscale answers was read from its documentation and its clients.
 */
export function policyApiContract(make: () => Promise<Made>): void {
  const refused = (...named: string[]) =>
    expect.objectContaining({
      code: 'policy-test-failed',
      message: expect.stringMatching(new RegExp(named.map((each) => `(?=.*${each})`).join(''), 's')),
    })
  const write = async ({ tailscale }: Made, text: string) => {
    const { etag } = await tailscale.policy()
    await tailscale.setPolicy({ text, etag })
  }
  /** Refused, nothing written. */
  async function expectRefused(made: Made, text: string, ...named: string[]): Promise<void> {
    const before = await made.tailscale.policy()
    await expect(made.tailscale.setPolicy({ text, etag: before.etag })).rejects.toEqual(refused(...named))
    expect(await made.tailscale.policy()).toEqual(before)
  }

  test('what is written is read again byte by byte: comments, odd spacing and trailing commas', async () => {
    await using made = await make()
    const text = `${policyWith()}  \n/* größer 🦊, and no line break at the end */`
    await write(made, text)
    expect((await made.tailscale.policy()).text).toBe(text)
  })

  test('the ETag is that of the text: it changes with it, and the same text written again has the same one', async () => {
    await using made = await make()
    await write(made, policyWith())
    const first = await made.tailscale.policy()
    await write(made, policyWith('  // one more\n'))
    expect((await made.tailscale.policy()).etag).not.toBe(first.etag)
    await write(made, policyWith())
    expect(await made.tailscale.policy()).toEqual(first)
    await write(made, policyWith())
    expect(await made.tailscale.policy()).toEqual(first)
  })

  test('a write for an earlier version is refused, and what others wrote stays', async () => {
    await using made = await make()
    await write(made, policyWith())
    const { etag } = await made.tailscale.policy()
    const theirs = policyWith('  // by hand\n')
    await write(made, theirs)
    const stale = made.tailscale.setPolicy({ text: policyWith('  // ours\n'), etag })
    await expect(stale).rejects.toMatchObject({ code: 'policy-stale' })
    expect((await made.tailscale.policy()).text).toBe(theirs)
  })

  test('text that is no HuJSON, or no policy, is refused', async () => {
    await using made = await make()
    await expectRefused(made, '{ "grants": [')
    await expectRefused(made, '{ "grants": [] "tests": [] }')
    await expectRefused(made, '')
    await expectRefused(made, '[]')
  })

  test('a rule with a tag or a name that the file does not define is refused', async () => {
    await using made = await make()
    await expectRefused(
      made,
      policyWith('', '{"src": ["panda"], "dst": ["tag:unknown"], "ip": ["*"]},'),
      'tag:unknown',
    )
    await expectRefused(
      made,
      policyWith('', '{"src": ["no-such-machine"], "dst": ["panda"], "ip": ["*"]},'),
      'no-such-machine',
    )
  })

  test('a test that fails is refused by the address it names, whether it accepts or denies', async () => {
    await using made = await make()
    await expectRefused(
      made,
      tested('{"src": "panda", "accept": ["tag:svc-contract:81"]}'),
      'tag:svc-contract:81',
    )
    await expectRefused(
      made,
      tested('{"src": "panda", "deny": ["tag:svc-contract:80"]}'),
      'tag:svc-contract:80',
    )
  })

  test('tests that pass are taken: about people, hosts, and a tag that no device has', async () => {
    await using made = await make()
    const text = tested(
      '{"src": "panda", "accept": ["tag:svc-contract:80"], "deny": ["tag:svc-contract:81"]}',
      '{"src": "joel@", "accept": ["panda:22"]}',
      '{"src": "tag:svc-contract", "deny": ["panda:22"]}',
    )
    await write(made, text)
    expect((await made.tailscale.policy()).text).toBe(text)
  })

  test('acls are judged as grants are', async () => {
    await using made = await make()
    const acls = (verdict: string) =>
      `{"hosts": {"panda": "100.64.0.1"}, ${owners}, "acls": [{"action": "accept", "src": ["panda"], "dst": ["tag:svc-contract:80,82-84"]}], "tests": [{"src": "panda", "${verdict}": ["tag:svc-contract:83"]}]}`
    await write(made, acls('accept'))
    await expectRefused(made, acls('deny'), 'tag:svc-contract:83')
  })
}

const owners =
  '"tagOwners": {"tag:k8s-operator": ["joel@"], "tag:svc-contract": ["tag:k8s-operator", "joel@"]}'

const policyWith = (comment = '', grant = '', tests = '') => `// größer 🦊
{
  "hosts":   {"panda": "100.64.0.1",},
${comment}  ${owners},
  "grants": [
    {"src": ["joel@"], "dst": ["panda"], "ip": ["*"]}, // the old paths
    {"src": ["panda"], "dst": ["tag:svc-contract"], "ip": ["tcp:80"]},
    ${grant}
  ],
  "tests": [${tests}],
}
`
const tested = (...tests: string[]) => policyWith('', '', tests.join(', '))

type Made = { tailscale: Systems['tailscale'] } & AsyncDisposable
