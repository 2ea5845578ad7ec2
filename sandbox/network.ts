import { mkdirSync, writeFileSync } from 'node:fs'
import { execa } from 'execa'

/** The hosts and their addresses. The router's address on each cable is the one that ends in 254. */
export const addresses = { node: '10.88.0.1', panda: '10.89.0.1', 'clanker-001': '10.90.0.1' } as const
export const routerAddress = '10.88.0.254'
export const podNetwork = '10.244.0.0/16'

/** One network namespace per host, each with one cable to the router, which is the namespace that we run in. */
export async function layCables() {
  await Promise.all(
    Object.entries(addresses).map(([name, address], index) => layCable({ name, address, index })),
  )
  await ip(`route add ${podNetwork} via ${addresses.node}`)
}

async function layCable({ name, address, index }: { name: string; address: string; index: number }) {
  const gateway = address.replace(/\.1$/, '.254')
  // Each host has its own resolv.conf: tailscaled on it writes its MagicDNS there.
  mkdirSync(`/etc/netns/${name}`, { recursive: true })
  writeFileSync(`/etc/netns/${name}/resolv.conf`, '# nobody resolves names here yet\n')
  await ip(`netns add ${name}`)
  await ip(`link add cable${index} type veth peer name eth0 netns ${name}`)
  await ip(`addr add ${gateway}/24 dev cable${index}`)
  await ip(`link set cable${index} up`)
  await ip(`-n ${name} addr add ${address}/24 dev eth0`)
  await ip(`-n ${name} link set eth0 up`)
  await ip(`-n ${name} link set lo up`)
  await ip(`-n ${name} route add default via ${gateway}`)
}

const ip = (line: string) => execa('ip', line.split(' '))
