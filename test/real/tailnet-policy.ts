import { read, world } from './panda.ts'

/** The tailnet's policy by the API, as its owner reads it. */
export async function policy(): Promise<string> {
  const { stdout } = await world.panda.run(
    'curl',
    ['-sf', '-H', 'accept: application/hujson', ...(await bearer()), acl],
    { stripFinalNewline: false },
  )
  return stdout
}

/** Writes it as its owner does, without asking who else does. */
export async function setPolicy(text: string): Promise<void> {
  const type = ['-H', 'content-type: application/hujson']
  await world.panda.run('curl', [
    '-sf',
    '-X',
    'POST',
    ...type,
    ...(await bearer()),
    '--data-binary',
    text,
    acl,
  ])
}

const acl = `${world.tailscaleApi}/api/v2/tailnet/-/acl`

async function bearer(): Promise<string[]> {
  const key = (name: string) => read(`${world.panda.home}/.config/onehop/${name}`).trim()
  const user = `${key('onehop-client-id')}:${key('onehop-client-secret')}`
  const grant = ['-d', 'grant_type=client_credentials', `${world.tailscaleApi}/api/v2/oauth/token`]
  const { stdout } = await world.panda.run('curl', ['-sf', '-u', user, ...grant])
  return ['-H', `authorization: Bearer ${(JSON.parse(stdout) as { access_token: string }).access_token}`]
}
