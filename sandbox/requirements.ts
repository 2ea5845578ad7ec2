// Asked on every platform before anything of the sandbox is loaded: the rest needs Linux and Node 24.

/** Why the real servers cannot run on this machine, whatever is installed; undefined where they can. */
export function whyUnfit({ platform = process.platform, uid = process.getuid?.() } = {}): string | undefined {
  if (platform !== 'linux')
    return `they need Linux, and this is ${platform} (a Linux virtual machine will do)`
  if (uid !== 0)
    return `they need root, for namespaces and mounts (try: sudo -E env "PATH=$PATH" npm run ${process.env.npm_lifecycle_event ?? 'test:real'})`
  return undefined
}

/** No person watches, so nothing is asked. */
export const isCI = (value = process.env.CI) => value !== undefined && !/^(|0|false)$/i.test(value)

/** What the first start costs, and every later one. */
export const firstStart = 'about 20 minutes on 2 cores, 18 GB of disk and 3 GB of download'

/** What a person is told who wants the real servers where they cannot run. */
export const refusal = (why: string) =>
  new Error(`The real servers cannot run here: ${why}.
They take a Debian-like Linux, root, and on Debian or Ubuntu: apt-get install iproute2 util-linux openssl
The first time they are built, with Go 1.26 from https://go.dev/dl: ${firstStart}.
Without them: npm run demo   (simulated systems, Node alone, a minute), and npm test (it runs what needs no servers)`)
