import { hash } from 'node:crypto'
import { DEFAULT_PORT, type MemcachedServer } from './servers.ts'

/**
 * Which server keeps a key: weighted ketama as libmemcached does it (`MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED`), so that its
 * tools and ours agree. Each server has points on a circle of 32 bits, 160 on average; a key belongs to the first point
 * at or after its own. A server that is added or removed takes or leaves its share and moves nothing else.
 *
 * The function returned gives the index of the server.
 */
export function ketamaRing(servers: readonly Required<MemcachedServer>[]): (key: string) => number {
  if (servers.length === 1) return () => 0
  const points = servers.flatMap((server, index) => pointsOf(server, servers).map((at) => ({ at, index })))
  points.sort((a, b) => a.at - b.at)
  const positions = Uint32Array.from(points, ({ at }) => at)
  const indexes = Uint32Array.from(points, ({ index }) => index)
  return (key) => {
    const first = lowerBound(positions, md5(key).readUInt32LE(0))
    // Past the last point, the circle starts again.
    return indexes[first === indexes.length ? 0 : first] as number
  }
}

function md5(text: string): Buffer {
  return hash('md5', text, 'buffer')
}

/** Four points come out of one digest. */
const DIGESTS_PER_SERVER = 160 / 4

function pointsOf(
  { host, port, weight }: Required<MemcachedServer>,
  servers: readonly Required<MemcachedServer>[],
): number[] {
  const name = port === DEFAULT_PORT ? host : `${host}:${port}`
  const digests = digestCount(weight, servers)
  return Array.from({ length: digests }, (_, i) => md5(`${name}-${i}`)).flatMap((digest) =>
    [0, 4, 8, 12].map((offset) => digest.readUInt32LE(offset)),
  )
}

/** In single precision, as libmemcached computes it: another rounding would be another number of points. */
function digestCount(weight: number, servers: readonly Required<MemcachedServer>[]): number {
  const { fround } = Math
  const total = servers.reduce((sum, server) => sum + server.weight, 0)
  const share = fround(fround(weight) / fround(total))
  const digests = fround(fround(fround(share * (DIGESTS_PER_SERVER * 4)) / 4) * servers.length)
  return Math.floor(fround(digests + 1e-10))
}

/** The index of the first element that is not below `value`. */
function lowerBound(sorted: Uint32Array, value: number): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] as number) < value) low = middle + 1
    else high = middle
  }
  return low
}
