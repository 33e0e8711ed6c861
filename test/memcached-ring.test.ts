import { hash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { ketamaRing } from '../src/stores/memcached/ring.ts'
import { parseServers } from '../src/stores/memcached/servers.ts'

describe('the ring', () => {
  /** What libmemcached 1.1.4 answers with MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED: for a few keys, and for k0 to k19999 as a digest. */
  const VECTORS = {
    'of eight servers with weights': {
      servers: [600, 300, 200, 350, 1000, 800, 950, 100].map(
        (weight, i) => `10.0.1.${i + 1}:11211 ${weight}`,
      ),
      few: '2456446445466240401640171266236606046541',
      many: '4a1b7ba27cc73c0f8168c2fa899a50fe7299217ce94cfebbdbc16b7a626f64db',
    },
    'of three equal servers': {
      servers: ['10.0.1.1:11211', '10.0.1.2:11211', '10.0.1.3:11211'],
      few: '2122022222122210201010121212220201001101',
      many: 'f90c82897fe984523303d41d946f0949300617b9978d3844da19631d35b49860',
    },
    'of servers on other ports': {
      servers: ['127.0.0.1:11211 1', '127.0.0.1:11212 3', 'cache-b.example.org:11300 2'],
      few: '1212102020001121121122122012011221011020',
      many: '95e99e77ef8dad538d2f2ea9d49339b8275a2066255f1e87e07cc5105af3380a',
    },
    'of shares that are no round number of points': {
      servers: ['a:11211 1', 'b:11211 1', 'c:11211 7', 'd:11212 3', 'e:11211 6'],
      few: '2434433242342423432104232413242222332123',
      many: '7ceecc293d850f1c30bf0075c020ba06eceba9908fb8ba6fbef7985316e5ba24',
    },
    'of shares that single precision rounds down': {
      servers: ['a 1', 'b 2', 'c 4', 'd 8', 'e 10'],
      few: '2444434342342434312133202312443314333124',
      many: '482234bfe8522fc74c17d31b29f313bbd04c2910023761db9b2f42b44f1c84ce',
    },
  }
  const FEW = ['VDEAAAAA', '', 'a', `holdfast:id:${'x'.repeat(43)}`, 'ä odd', ...keys(35, 'key-')]

  for (const [name, { servers, few, many }] of Object.entries(VECTORS)) {
    it(`${name} is that of libmemcached`, () => {
      const indexOf = ringOf(servers)
      expect(FEW.map(indexOf).join('')).toBe(few)
      expect(hash('sha256', keys(20_000, 'k').map(indexOf).join(''))).toBe(many)
    })
  }

  it('starts again past its last point', () => {
    // The hash of this key is 0xfffcd1b5, after every point of these servers: a case of libmemcached's own tests.
    expect(hash('md5', 'VDEAAAAA', 'buffer').readUInt32LE(0)).toBe(0xfffcd1b5)
    expect(ringOf(VECTORS['of eight servers with weights'].servers)('VDEAAAAA')).toBe(2)
  })

  it('is one server where there is one', () => {
    expect(keys(100, 'k').map(ringOf(['a']))).toEqual(Array(100).fill(0))
  })

  it('gives a key that falls on a point to the server of the point', () => {
    // The points of a server are the hashes of its name and a number, and so these keys are points.
    const indexOf = ringOf(['a', 'b', 'c'])
    for (const key of keys(40, 'b-')) expect(indexOf(key)).toBe(1)
  })

  it('gives each server about its weight', () => {
    const indexOf = ringOf(['a 1', 'b 2', 'c 1', 'd 4'])
    const counts = [0, 0, 0, 0]
    for (const key of keys(40_000, 'id:')) counts[indexOf(key)]!++
    for (const [i, weight] of [1, 2, 1, 4].entries()) {
      expect(counts[i]! / 40_000 / (weight / 8)).toBeGreaterThan(0.75)
      expect(counts[i]! / 40_000 / (weight / 8)).toBeLessThan(1.25)
    }
  })

  it('moves to a new server its share, and nothing between the others', () => {
    const [four, five] = [ringOf(['a', 'b', 'c', 'd']), ringOf(['a', 'b', 'c', 'd', 'e'])]
    const all = keys(20_000, 'id:')
    const moved = all.filter((key) => four(key) !== five(key))
    expect(moved.every((key) => five(key) === 4)).toBe(true)
    expect(moved.length / all.length).toBeGreaterThan(0.15)
    expect(moved.length / all.length).toBeLessThan(0.25)
  })

  it('does not mind the order of the servers', () => {
    const [one, other] = [
      ['a', 'b 3', 'c'],
      ['c', 'a', 'b 3'],
    ] as const
    const [first, second] = [ringOf(one), ringOf(other)]
    for (const key of keys(1000, 'id:')) expect(one[first(key)]).toBe(other[second(key)])
  })

  function ringOf(servers: readonly string[]): (key: string) => number {
    return ketamaRing(parseServers(servers).servers)
  }

  function keys(count: number, prefix: string): string[] {
    return Array.from({ length: count }, (_, i) => `${prefix}${i}`)
  }
})
