// What Docker's port map is on the Mac Mini: localhost:PORT -> the node's NodePort. It accepts first and dials then,
// as Docker's own proxy does, so that an open port alone proves nothing about the service behind it.
// usage: port-map.ts ADDRESS PORT=NODEPORT ...
import { connect, createServer } from 'node:net'

const [address = '', ...maps] = process.argv.slice(2)

for (const map of maps) {
  const [port, nodePort] = map.split('=').map(Number)
  createServer({ allowHalfOpen: true }, (client) => {
    const onward = connect({ host: address, port: nodePort ?? 0, allowHalfOpen: true })
    client.pipe(onward).pipe(client)
    client.on('error', () => onward.destroy())
    onward.on('error', () => client.destroy())
    client.on('close', () => onward.destroy())
    onward.on('close', () => client.destroy())
  }).listen(port, '0.0.0.0')
}
