import { createHash } from 'node:crypto'

/** A script with the name that the server knows it by. */
export interface Script {
  readonly source: string
  readonly sha: string
}

/*
 * No script has a shebang line: a full server would refuse it whole, also where it only destroys. And what must work on
 * a full server (destroy, touch) begins with a command that takes no memory, after which the rest is let through.
 */

/** See value.ts for the form of a value. */
const HELPERS = `
local function split(value)
  local newline = string.find(value, '\\n', 1, true) or error('FOREIGN')
  local times, rev, rest = string.match(string.sub(value, 1, newline - 1), '^(%d+ %d+ )([^ ]+)(.*)$')
  if not rev then error('FOREIGN') end
  local index, owner = string.match(rest, '^( @[^ ]+)(.*)$')
  return times, rev, index or '', owner or rest, string.sub(value, newline)
end
local function expiry(time)
  return string.format('%.0f', math.max(1, tonumber(time)))
end
local function keep(value, expires)
  if expires == '8640000000000000' then return redis.call('SET', KEYS[1], value) end
  return redis.call('SET', KEYS[1], value, 'PXAT', expiry(expires))
end
local function reaches(index, expires)
  return tonumber(string.match(index, '[^.]+$'), 36) >= tonumber(expires)
end
local function later(one, other)
  if one > other then return one end
  return other
end
local old = redis.call('GET', KEYS[1])
if old and string.byte(old) == 100 then old = false end
`

/**
 * ARGV: the value, the revision expected, and how the caller has indexed it, if it has. Answers `gone`, `conflict`, `index`
 * (the caller must index it first), or `ok` with the index and owner that no longer hold.
 */
export const UPDATE = script(`${HELPERS}
if not old then return 'gone' end
local _, rev, index, owner = split(old)
if rev ~= ARGV[2] then return 'conflict' end
local times, nextRev, _, nextOwner, text = split(ARGV[1])
local nextIndex = ARGV[3] or ''
local expires = string.sub(times, 18, 33)
if nextOwner ~= '' and nextIndex == '' then
  if owner ~= nextOwner or not reaches(index, expires) then return 'index' end
  nextIndex = index
end
keep(times .. nextRev .. nextIndex .. nextOwner .. text, expires)
if owner ~= '' and index ~= nextIndex then return 'ok' .. index .. owner end
return 'ok'
`)

/**
 * ARGV: last seen, expires, and how the caller has indexed it, and for which owner, if it has. Answers nothing if there is no
 * record, `index` with the owner (the caller must index it first), or `ok` with the index and owner that no longer hold.
 */
export const TOUCH = script(`${HELPERS}
if not old then return false end
local times, rev, index, owner, text = split(old)
local seen = later(ARGV[1], string.sub(times, 1, 16))
local expires = later(ARGV[2], string.sub(times, 18, 33))
local head = seen .. ' ' .. expires .. ' '
if head == times then return 'ok' end
if owner ~= '' and not reaches(index, expires) then
  if ARGV[4] ~= owner then return 'index' .. owner end
  redis.call('PERSIST', KEYS[1])
  keep(head .. rev .. ARGV[3] .. owner .. text, expires)
  return 'ok' .. index .. owner
end
redis.call('PERSIST', KEYS[1])
redis.call('SETRANGE', KEYS[1], 0, head)
if expires ~= '8640000000000000' then redis.call('PEXPIREAT', KEYS[1], expiry(expires)) end
return 'ok'
`)

/** ARGV: until, and the owner that it must have, if any. Answers nothing if there is no such record, or its index and owner. */
export const DESTROY = script(`${HELPERS}
if not old then return false end
local _, _, index, owner = split(old)
if ARGV[2] and not string.find(owner .. ' ', ARGV[2] .. ' ', 1, true) then return false end
redis.call('DEL', KEYS[1])
keep('destroyed ' .. ARGV[1], ARGV[1])
return index .. owner
`)

/** A read that no client sends to a replica. */
export const LOAD_FRESH = script(`return redis.call('GET', KEYS[1])`)

/**
 * Of an index. ARGV: the score of an entry to add, the entry, and anything more if it is to be added to a full server as well;
 * or nothing and entries to remove. Prunes the index, and sets its expiry.
 */
export const INDEX = script(`
if ARGV[1] ~= '' then
  if ARGV[3] then redis.call('PERSIST', KEYS[1]) end
  redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
else
  for i = 2, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
end
local time = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. time[1] .. string.format('%03d', math.floor(time[2] / 1000)))
local last = tonumber(redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2])
if last == 8640000000000000 then
  redis.call('PERSIST', KEYS[1])
elseif last then
  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', math.max(1, last)))
end
`)

function script(source: string): Script {
  return { source, sha: createHash('sha1').update(source).digest('hex') }
}
