import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { addresses, routerAddress } from './network.ts'

/** The sandbox's own certificate authority, and what it signs. All names are files in `folder`. */
export async function makeCertificates(folder: string) {
  mkdirSync(folder, { recursive: true })
  const openssl = (line: string) => execa('openssl', line.split(' '), { cwd: folder })
  const key = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30'
  await openssl(`req -x509 ${key} -keyout ca.key -out ca.crt -subj /CN=onehop-sandbox`)
  const sign = async (name: string, subjects: string) => {
    writeFileSync(join(folder, `${name}.ext`), `subjectAltName=${subjects}\n`)
    await openssl(
      `req ${key.replace(' -days 30', '')} -keyout ${name}.key -out ${name}.csr -subj /CN=${name}`,
    )
    await openssl(
      `x509 -req -in ${name}.csr -CA ca.crt -CAkey ca.key -CAserial ${name}.srl -CAcreateserial -out ${name}.crt -days 30 -extfile ${name}.ext`,
    )
  }
  const cluster = 'IP:127.0.0.1,IP:10.96.0.1,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc'
  await Promise.all([
    // kube-apiserver's self-made certificate would not cover 127.0.0.1.
    sign('apiserver', `IP:${addresses.node},${cluster}`),
    sign('router', `IP:${routerAddress}`),
    sign('panda.tail7af24.ts.net', 'DNS:panda.tail7af24.ts.net'),
    openssl('genrsa -out service-accounts.key 2048'),
  ])
}
