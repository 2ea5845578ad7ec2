import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import pWaitFor from 'p-wait-for'
import { binFolder, cacheFolder } from './cache.ts'
import { fetchDebian, missingFromDebian } from './debian.ts'
import { holdLock } from './lock.ts'
import { debianPackages, versions } from './versions.ts'

type Part = {
  name: string
  /** Programs that it leaves in the bin folder; none for Debian's. */
  programs: string[]
  /** Changes when the part must be made again. */
  stamp: string
  /** The version of each program (or of all) that may be taken from PATH instead; absent where it must be built. */
  version?: Record<string, string>
  /** Makes them in `out`. */
  make(out: string): Promise<void>
}

/** Names of the parts that are not in the cache yet; takes milliseconds. */
export const missingParts = () => parts.filter((part) => !isThere(part)).map(({ name }) => name)

/**
 * Builds and fetches what is missing into the cache. Each part appears whole or not at all, and of two checkouts
 * that build at once the second waits for the first.
 */
export async function buildParts(options: {
  onPart?: (part: { name: string; k: number; n: number; seconds: number }) => void
}) {
  if (missingParts().length === 0) return
  await using _lock = await waitForLock()
  const missing = parts.filter((part) => !isThere(part))
  for (const [index, part] of missing.entries()) {
    const start = performance.now()
    await makePart(part)
    options.onPart?.({
      name: part.name,
      k: index + 1,
      n: missing.length,
      seconds: (performance.now() - start) / 1000,
    })
  }
}

async function makePart(part: Part) {
  const out = join(cacheFolder, 'new', part.name)
  rmSync(out, { recursive: true, force: true })
  mkdirSync(out, { recursive: true })
  mkdirSync(binFolder, { recursive: true })
  mkdirSync(join(cacheFolder, 'stamps'), { recursive: true })
  if (!(await takeFromPath(part, out))) await part.make(out)
  for (const name of readdirSync(out)) {
    rmSync(join(binFolder, name), { recursive: true, force: true })
    renameSync(join(out, name), join(binFolder, name))
  }
  rmSync(out, { recursive: true })
  writeFileSync(stampFile(part), part.stamp)
}

/** Copies a part's programs where the machine has all of them in the pinned version. */
async function takeFromPath({ programs, version }: Part, out: string): Promise<boolean> {
  if (!version) return false
  const folders = (process.env.PATH ?? '').split(':')
  for (const program of programs) {
    const found = folders.map((folder) => join(folder, program)).find((path) => existsSync(path))
    if (!found) return false
    const { stdout } = await execa(found, versionQuestions[program] ?? ['--version'], {
      reject: false,
      timeout: 5000,
    })
    if (!String(stdout).includes(version[program] ?? version.all ?? '?')) return false
    cpSync(found, join(out, program), { dereference: true })
  }
  return true
}

const versionQuestions: Record<string, string[]> = {
  helm: ['version', '--short'],
  caddy: ['version'],
  headscale: ['version'],
}

function isThere(part: Part): boolean {
  if (part.name === 'Debian packages' && missingFromDebian().length === 0) return true
  if (!part.programs.every((program) => existsSync(join(binFolder, program)))) return false
  return existsSync(stampFile(part)) && readFileSync(stampFile(part), 'utf8') === part.stamp
}

const stampFile = ({ name }: Part) => join(cacheFolder, 'stamps', name)

async function waitForLock(): Promise<AsyncDisposable> {
  let lock = await holdLock('build').catch(() => undefined)
  if (lock) return lock
  process.stderr.write('Another checkout is building the same servers: waiting for it.\n')
  const tryIt = async () => {
    lock = await holdLock('build').catch(() => undefined)
    return lock !== undefined
  }
  await pWaitFor(tryIt, { interval: 500, timeout: 3_600_000 })
  if (!lock) throw new Error('another build has been running for an hour')
  return lock
}

const kubernetesPrograms = [
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kube-proxy',
  'kubelet',
  'kubectl',
]
const tailscalePrograms = ['k8s-operator', 'containerboot', 'tailscaled', 'tailscale']
const kubernetesPackages = kubernetesPrograms.map((name) => `k8s.io/kubernetes/cmd/${name}`)
const tailscalePackages = tailscalePrograms.map((name) => `tailscale.com/cmd/${name}`)
const etcdPackage = 'go.etcd.io/etcd/server/v3'
const toolPackages = [
  'helm.sh/helm/v4/cmd/helm',
  'github.com/caddyserver/caddy/v2/cmd/caddy',
  'github.com/coredns/coredns',
]

const parts: Part[] = [
  {
    name: 'Debian packages',
    programs: [],
    stamp: debianPackages.join(' '),
    make: () => fetchDebian(),
  },
  {
    name: 'helm, Caddy, CoreDNS',
    programs: ['helm', 'caddy', 'coredns'],
    stamp: `${versions.helm} ${versions.caddy} ${versions.coredns} stamped`,
    version: { helm: versions.helm, caddy: versions.caddy, coredns: versions.coredns },
    async make(out) {
      const requires = [
        `helm.sh/helm/v4 v${versions.helm}`,
        `github.com/caddyserver/caddy/v2 v${versions.caddy}`,
        `github.com/coredns/coredns v${versions.coredns}`,
      ]
      const source = await toolModule({ name: 'tools', tools: toolPackages, requires })
      // Built as a dependency, neither knows its own version, and its users ask for it.
      const ldflags = `-X github.com/caddyserver/caddy/v2.CustomVersion=v${versions.caddy} -X helm.sh/helm/v4/internal/version.version=v${versions.helm}`
      await goBuild({ source, out, packages: toolPackages, ldflags })
    },
  },
  {
    name: 'Bun, Node 22',
    programs: ['bun', 'node22'],
    stamp: `${versions.bun} ${versions.node22}`,
    make: (out) =>
      npmPrograms(out, {
        [`@oven/bun-linux-${process.arch === 'arm64' ? 'aarch64' : 'x64'}@${versions.bun}`]: 'bun',
        [`node-linux-${process.arch}@${versions.node22}`]: 'node22',
      }),
  },
  {
    name: 'Tailscale',
    programs: [...tailscalePrograms, 'operator-chart'],
    stamp: `${versions.tailscale} stamped`,
    async make(out) {
      const requires = [`tailscale.com v${versions.tailscale}`]
      const source = await toolModule({ name: 'tailscale', tools: tailscalePackages, requires })
      const ldflags = ['short', 'long']
        .map((stamp) => `-X tailscale.com/version.${stamp}Stamp=${versions.tailscale}`)
        .join(' ')
      await goBuild({ source, out, packages: tailscalePackages, ldflags })
      const { stdout } = await go(['list', '-m', '-f', '{{.Dir}}', 'tailscale.com'], source)
      assembleChart(join(String(stdout), 'cmd/k8s-operator/deploy'), join(out, 'operator-chart'))
    },
  },
  {
    name: 'Headscale',
    programs: ['headscale'],
    stamp: versions.headscale,
    version: { all: versions.headscale },
    async make(out) {
      // Its go.sum names a module whose checksum is no longer served, so it cannot be built as a dependency.
      const source = await writableCopy('headscale', `github.com/juanfont/headscale@v${versions.headscale}`)
      await goBuild({ source, out, packages: ['./cmd/headscale'], flags: ['-mod=mod'] })
    },
  },
  {
    name: 'Inngest',
    programs: ['inngest'],
    stamp: versions.inngest,
    async make(out) {
      // It has a `replace` and embeds a folder that its module leaves out: the dashboard's pages are missing, the API is whole.
      const source = await writableCopy('inngest', `github.com/inngest/inngest@v${versions.inngest}`)
      const docs = join(source, 'internal/embeddocs/website/pages/docs')
      mkdirSync(docs, { recursive: true })
      writeFileSync(join(docs, 'README.md'), '# see inngest.com/docs\n')
      await goBuild({ source, out: join(out, 'inngest'), packages: ['./cmd'], flags: ['-mod=mod'] })
    },
  },
  {
    name: 'Kubernetes and etcd',
    programs: [...kubernetesPrograms, 'etcd'],
    stamp: versions.kubernetes,
    version: { all: versions.kubernetes, etcd: '3.6.' },
    async make(out) {
      const source = await kubernetesModule()
      const [, minor] = versions.kubernetes.split('.')
      const version = 'k8s.io/component-base/version'
      const ldflags = `-X ${version}.gitVersion=v${versions.kubernetes} -X ${version}.gitMajor=1 -X ${version}.gitMinor=${minor}`
      await goBuild({ source, out, packages: kubernetesPackages, ldflags })
      await goBuild({ source, out: join(out, 'etcd'), packages: [etcdPackage] })
    },
  },
]

/** Packages of the npm registry that carry a runtime's program and nothing else. */
async function npmPrograms(out: string, programs: Record<string, string>) {
  const folder = join(cacheFolder, 'src', 'runtimes')
  mkdirSync(folder, { recursive: true })
  await execa(
    'npm',
    ['install', '--no-save', '--no-audit', '--no-fund', '--prefix', folder, ...Object.keys(programs)],
    {
      cwd: folder,
    },
  )
  for (const [spec, program] of Object.entries(programs)) {
    const [, name = ''] = /^(@?[^@]+)@/.exec(spec) ?? []
    const file = join(folder, 'node_modules', name, 'bin', program.startsWith('node') ? 'node' : program)
    cpSync(file, join(out, program))
  }
}

const goEnv = () => ({
  CGO_ENABLED: '0',
  GOTOOLCHAIN: 'local',
  GOFLAGS: '-buildvcs=false',
  GOCACHE: join(cacheFolder, 'go-build'),
  GOMODCACHE: join(cacheFolder, 'go-mod'),
})

const go = (args: string[], cwd: string) => execa('go', args, { cwd, env: goEnv() })

type Build = { source: string; out: string; packages: string[]; flags?: string[]; ldflags?: string }

const goBuild = ({ source, out, packages, flags = [], ldflags }: Build) =>
  go(
    [
      'build',
      ...flags,
      '-trimpath',
      `-ldflags=${['-s -w', ldflags].filter(Boolean).join(' ')}`,
      '-o',
      existsSync(out) ? `${out}/` : out,
      ...packages,
    ],
    source,
  )

/** A module of our own that only names tools, so that Go picks and pins everything they need. */
async function toolModule({
  name,
  tools,
  requires,
  replaces = [],
}: {
  name: string
  tools: string[]
  requires: string[]
  replaces?: string[]
}) {
  const lines = [
    ...[`module sandbox/${name}`, `go ${versions.go}`],
    ...tools.map((tool) => `tool ${tool}`),
    ...requires.map((require) => `require ${require}`),
    ...replaces.map((replace) => `replace ${replace}`),
  ]
  const text = `${lines.join('\n')}\n`
  const source = join(
    cacheFolder,
    'src',
    `${name}-${createHash('sha256').update(text).digest('hex').slice(0, 8)}`,
  )
  if (existsSync(join(source, 'go.sum'))) return source
  mkdirSync(source, { recursive: true })
  writeFileSync(join(source, 'go.mod'), text)
  await go(['mod', 'tidy'], source)
  return source
}

/** Kubernetes replaces every staging module by a local path: point each at the published module of the same release. */
async function kubernetesModule() {
  const { GoMod } = await download(`k8s.io/kubernetes@v${versions.kubernetes}`)
  const staging = readFileSync(GoMod, 'utf8').matchAll(/^\s*(\S+) => \.\/staging/gm)
  const published = `v0.${versions.kubernetes.split('.').slice(1).join('.')}`
  return toolModule({
    name: 'k8s',
    tools: [...kubernetesPackages, etcdPackage],
    requires: [`k8s.io/kubernetes v${versions.kubernetes}`],
    replaces: [...staging].map(([, module]) => `${module} => ${module} ${published}`),
  })
}

async function writableCopy(name: string, module: string) {
  const { Dir } = await download(module)
  const copy = join(cacheFolder, 'src', module.split('/').at(-1) ?? name)
  if (!existsSync(copy)) {
    rmSync(`${copy}.new`, { recursive: true, force: true })
    mkdirSync(join(copy, '..'), { recursive: true })
    await execa('cp', ['-r', '--no-preserve=mode', Dir, `${copy}.new`])
    renameSync(`${copy}.new`, copy)
  }
  return copy
}

async function download(module: string): Promise<{ Dir: string; GoMod: string }> {
  mkdirSync(join(cacheFolder, 'src'), { recursive: true })
  const { stdout } = await go(['mod', 'download', '-json', module], join(cacheFolder, 'src'))
  return JSON.parse(String(stdout))
}

/** What Tailscale's release build does: the chart, with each CRD behind `installCRDs`. */
function assembleChart(deploy: string, chart: string) {
  cpSync(join(deploy, 'chart'), chart, { recursive: true })
  for (const file of readdirSync(join(deploy, 'crds')).filter((name) => name.startsWith('tailscale.com_'))) {
    const crd = readFileSync(join(deploy, 'crds', file), 'utf8')
    writeFileSync(
      join(chart, 'templates', file.replace('tailscale.com_', '')),
      `{{ if .Values.installCRDs -}}\n${crd}{{- end -}}\n`,
    )
  }
}
