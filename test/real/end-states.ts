/** For each case its one end state and error code. `one-end-state.test.ts` makes each happen and reads what it must end in from here. */
export const endStates = {
  'redis is moved': { service: 'redis', state: 'moved', code: null },
  'qdrant is moved': { service: 'qdrant', state: 'moved', code: null },
  'livekit is moved': { service: 'livekit', state: 'moved', code: null },
  'pds is moved': { service: 'pds', state: 'moved', code: null },
  'typesense is moved': { service: 'typesense', state: 'moved', code: null },
  'inngest, the engine itself, is moved': { service: 'inngest', state: 'moved', code: null },
  'the name is taken before preflight': { service: 'typesense', state: 'refused', code: 'name-taken' },
  'the name is taken after preflight': { service: 'typesense', state: 'restored', code: 'name-not-given' },
  'another cluster stands behind the same kubeconfig': {
    service: 'typesense',
    state: 'refused',
    code: 'cluster-changed',
  },
  'the Service is recreated': { service: 'typesense', state: 'refused', code: 'service-recreated' },
  'endpoints are not ready': { service: 'typesense', state: 'refused', code: 'endpoints-not-ready' },
  'the Service is missing': { service: 'typesense', state: 'refused', code: 'service-missing' },
  'the Service is headless': { service: 'typesense', state: 'refused', code: 'service-headless' },
  'a port does not answer': { service: 'typesense', state: 'refused', code: 'old-path-silent' },
  'the namespace has lost its label': { service: 'typesense', state: 'moved', code: null },
  'the Caddyfile is edited by hand between preflight and switch': {
    service: 'qdrant',
    state: 'restored',
    code: 'caddy-file-not-running',
  },
  'Caddy is down': { service: 'qdrant', state: 'refused', code: 'caddy-unreachable' },
  'the operator is down': { service: 'typesense', state: 'refused', code: 'operator-down' },
  'the operator runs but is deaf': { service: 'typesense', state: 'refused', code: 'operator-deaf' },
  'the proxy pod cannot pull its image': { service: 'typesense', state: 'restored', code: 'proxy-pod-stuck' },
  'Helm fails': { service: 'typesense', state: 'refused', code: 'helm-failed' },
  'a proof fails after the switch': { service: 'qdrant', state: 'restored', code: 'soak-failed' },
} as const satisfies Record<
  string,
  { service: string; state: 'moved' | 'refused' | 'restored'; code: string | null }
>

export type CaseName = keyof typeof endStates
