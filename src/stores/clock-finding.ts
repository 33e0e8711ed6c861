import type { Finding } from '../store.ts'

const FEW_SECONDS = 3_000
/** Beyond this, what one side holds for live the other may have collected. */
const TOO_FAR = 60_000

/** How far this process is from the server, whose time `ask` tells: as far as the time of the answer allows to say. */
export async function clockFindings(
  store: string,
  now: () => number,
  ask: () => Promise<number>,
): Promise<Finding[]> {
  const before = now()
  const server = await ask()
  const after = now()
  const ahead = (before + after) / 2 - server
  const least = Math.abs(ahead) - (after - before) / 2
  if (!(least > FEW_SECONDS)) return []
  const seconds = (Math.abs(ahead) / 1000).toFixed(1)
  return [
    {
      id: 'store.clock-skew',
      severity: least > TOO_FAR ? 'error' : 'warning',
      finding: `The clock of this process is ${seconds} s ${ahead > 0 ? 'ahead of' : 'behind'} that of the ${store} server, so sessions end that much ${ahead > 0 ? 'too early' : 'too late'}, or are collected while they live.`,
      cure: 'Keep both by NTP (chrony, systemd-timesyncd), and see which of the two is wrong.',
    },
  ]
}
