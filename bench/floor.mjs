// The least that a session can cost: a visit counter written by hand, with no library. One cookie to verify (HMAC-SHA256), one look-up
// in a Map behind a promise, as with any store, and one JSON.parse; a write adds one JSON.stringify and one compare-and-set. Nothing
// else: no expiry, no rotation, no merging, no limits. The benchmarks in process and over HTTP share it.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

const NAME = 'floor='
const ID = 32

/** @param kept `get(id)` and `compareAndSet(id, text, expectedRev)`; by default a Map */
export function createFloor(secret, kept = inMemory()) {
  function tag(id) {
    return createHmac('sha256', secret).update(id).digest('base64url')
  }

  /** The id in the Cookie header, if we signed it. */
  function verify(header) {
    const at = header?.indexOf(NAME) ?? -1
    if (at === -1) return undefined
    const end = header.indexOf(';', at)
    const text = header.slice(at + NAME.length, end === -1 ? undefined : end)
    const id = text.slice(0, ID)
    const given = Buffer.from(text.slice(ID))
    const expected = Buffer.from(tag(id))
    return given.length === expected.length && timingSafeEqual(given, expected) ? id : undefined
  }

  async function open(header) {
    const id = verify(header)
    if (id === undefined) return undefined
    const found = await kept.get(id)
    return found && { id, rev: found.rev, data: JSON.parse(found.text) }
  }

  async function create(data) {
    const id = randomBytes(24).toString('base64url')
    await kept.compareAndSet(id, JSON.stringify(data), undefined)
    return `${NAME}${id}${tag(id)}; Path=/; HttpOnly; SameSite=Lax`
  }

  return {
    create,
    async read(header) {
      const session = await open(header)
      return session?.data.visits ?? 0
    },
    /** Counts a visit; a new session is given to `setCookie`. */
    async write(header, setCookie) {
      const session = await open(header)
      if (!session) {
        setCookie(await create({ visits: 1 }))
        return 1
      }
      const { id, rev, data } = session
      data.visits++
      if (!(await kept.compareAndSet(id, JSON.stringify(data), rev))) throw new Error('conflict')
      return data.visits
    },
  }
}

function inMemory() {
  const kept = new Map()
  return {
    async get(id) {
      return kept.get(id)
    },
    async compareAndSet(id, text, expectedRev) {
      if (kept.get(id)?.rev !== expectedRev) return false
      kept.set(id, { rev: (expectedRev ?? 0) + 1, text })
      return true
    },
  }
}
