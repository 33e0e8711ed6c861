import { spawnSync } from 'node:child_process'
import { createHash, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A certificate that nobody has signed, for a test's own server. */
export interface Certificate {
  readonly key: string
  readonly cert: string
  /** What a browser is told to accept: SHA-256 of the public key, in base64. */
  readonly spki: string
}

export function makeCertificate(...hosts: string[]): Certificate {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-'))
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  try {
    const names = hosts.map((host) => `DNS:${host}`).join(',')
    const { status, stderr, error } = spawnSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
        ...['-subj', `/CN=${hosts[0]}`, '-addext', `subjectAltName=${names}`, '-keyout', key, '-out', cert],
      ],
      { encoding: 'utf8' },
    )
    if (status !== 0) throw new Error(`openssl made no certificate: ${error?.message ?? stderr}`)
    const pem = readFileSync(cert, 'utf8')
    const spki = new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' })
    return {
      key: readFileSync(key, 'utf8'),
      cert: pem,
      spki: createHash('sha256').update(spki).digest('base64'),
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
