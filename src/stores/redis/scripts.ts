import { createHash } from 'node:crypto'

/**
 * Each works on one key, so it runs in a Cluster. None has a shebang: with one, a full server would refuse it whole, a logout included.
 * And where a value is written over, it is deleted first: a full server refuses a SET, but not after a write of the same script.
 *
 * A value is `lastSeen expires indexedUntil rev`, then the user and the external id as JSON or an empty line, then the text. A tombstone is a
 * blank and until when it stays.
 */
export interface Script {
  readonly source: string
  readonly sha: string
}

/** What the scripts answer. */
export const GONE = 0
export const CONFLICT = 1
export const DONE = 2
/** The record carries a user or an external id whose index does not know it yet, or not for long enough: nothing has changed. */
export const INDEX_FIRST = 3

const READ = `
local kept = redis.call('GET', KEYS[1])
if not kept or string.byte(kept) == 32 then return ${GONE} end
local seen, ends, indexed, rev, user, external, text =
  string.match(kept, '^(%d+) (%d+) (%d+) ([^\\n]*)\\n([^\\n]*)\\n([^\\n]*)\\n(.*)$')`

/** 8640000000000000, for a session that does not expire, is no time that Redis could wait for. */
const WRITE = `
redis.call('DEL', KEYS[1])
local value = table.concat({ table.concat({ seen, ends, indexed, rev }, ' '), user, external, text }, '\\n')
if ends == '8640000000000000' then redis.call('SET', KEYS[1], value)
else redis.call('SET', KEYS[1], value, 'PXAT', ends) end
return ${DONE}`

/** ARGV: the expected revision, then all of the new record; `indexed` is empty unless its indexes have just been written. */
export const UPDATE = script(`${READ}
if rev ~= ARGV[1] then return ${CONFLICT} end
if ARGV[5] ~= '' then indexed = ARGV[5]
elseif (ARGV[6] ~= '' or ARGV[7] ~= '')
  and (ARGV[6] ~= user or ARGV[7] ~= external or tonumber(ARGV[4]) > tonumber(indexed)) then return ${INDEX_FIRST} end
rev, seen, ends, user, external, text = ARGV[2], ARGV[3], ARGV[4], ARGV[6], ARGV[7], ARGV[8]
${WRITE}`)

/** ARGV: last seen, expires, indexed. */
export const TOUCH = script(`${READ}
if tonumber(ARGV[1]) > tonumber(seen) then seen = ARGV[1] end
if tonumber(ARGV[2]) > tonumber(ends) then ends = ARGV[2] end
if ARGV[3] ~= '' then indexed = ARGV[3]
elseif (user ~= '' or external ~= '') and tonumber(ends) > tonumber(indexed) then
  return { ${INDEX_FIRST}, user, external }
end
${WRITE}`)

/** ARGV: until when the tombstone stays, and what line 2 or 3 must be, if that matters. Answers with both lines. */
export const DESTROY = script(`${READ}
if (ARGV[2] or '') ~= '' and ARGV[2] ~= user or (ARGV[3] or '') ~= '' and ARGV[3] ~= external then return ${GONE} end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ' ' .. ARGV[1], 'PXAT', ARGV[1])
return { user, external }`)

/** An index is a sorted set of keys, by when they expire at the latest. ARGV: the key, its time, now. It prunes and expires itself. */
export const INDEX = script(`
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
if tonumber(last) >= 8640000000000000 then redis.call('PERSIST', KEYS[1])
else redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', tonumber(last))) end
return 1`)

function script(source: string): Script {
  return { source, sha: createHash('sha1').update(source).digest('hex') }
}
