/** Every version that the sandbox runs, in one place. The user's Kubernetes is 1.35. */
export const versions = {
  inngest: '1.44.0',
  headscale: '0.29.3',
  kubernetes: '1.35.4',
  // The newest release that builds with Go 1.26.
  tailscale: '1.102.4',
  helm: '4.3.1',
  caddy: '2.11.9',
  coredns: '1.15.0',
  // The other runtimes that the worker is tried on.
  bun: '1.4.5',
  node22: '22.19.0',
  // Of each `go.mod` that we write ourselves.
  go: '1.26.6',
} as const

/** Taken from PATH where they are there, else from the machine's own Debian release. */
export const debianPackages = [
  'containerd',
  'runc',
  'containernetworking-plugins',
  'nftables',
  'busybox-static',
  'redis-server',
] as const
