import { stat, statfs } from 'node:fs/promises'
import type { Finding } from '../store.ts'

const LITTLE = 64 * 1024 * 1024

/** What is wrong for sessions about the file or folder that they are in. */
export async function diskFindings(path: string): Promise<Finding[]> {
  const findings: Finding[] = []
  const { mode, uid } = await stat(path)
  const user = process.geteuid?.()
  // Where there is no user id, the mode means nothing either.
  if (user !== undefined && (mode & 0o077) !== 0) {
    findings.push({
      id: 'disk.open-to-others',
      severity: 'warning',
      finding: `${path} is open to other users of this machine (mode ${(mode & 0o777).toString(8)}), and with it the data of all sessions.`,
      cure: `Run chmod go-rwx '${path}'.`,
    })
  }
  if (user !== undefined && uid !== user) {
    findings.push({
      id: 'disk.owner',
      severity: 'warning',
      finding: `${path} belongs to user ${uid}, and this process is user ${user}: what one of them writes, the other may not be able to read.`,
      cure: 'Run it as the user of the site; if that is this one, give it the files with chown -R.',
    })
  }
  const { bavail, bsize } = await statfs(path)
  const free = bavail * bsize
  if (free < LITTLE) {
    findings.push({
      id: 'disk.full',
      severity: free === 0 ? 'error' : 'warning',
      finding: `The disk of ${path} has ${Math.floor(free / 1024).toLocaleString('en')} kB left; without room nobody can log in or out.`,
      cure: 'Make room, or move the sessions to another disk with holdfast migrate.',
    })
  }
  return findings
}
