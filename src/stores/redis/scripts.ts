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
local NEVER = 8640000000000000
local UNITS = { { 'd', 86400000 }, { 'h', 3600000 }, { 'm', 60000 }, { 's', 1000 }, { '', 1 } }
local function milliseconds(life)
  local number, unit = string.match(life, '^(-?%d+)([dhms]?)$')
  for _, each in ipairs(UNITS) do
    if each[1] == unit then return number * each[2] end
  end
  error('FOREIGN')
end
local function lifetime(milliseconds)
  for _, each in ipairs(UNITS) do
    if milliseconds % each[2] == 0 then return string.format('%.0f', milliseconds / each[2]) .. each[1] end
  end
  return tostring(milliseconds)
end
local function split(value)
  local newline = string.find(value, '\\n', 1, true) or error('FOREIGN')
  local head, seen, life, rev, rest = string.match(string.sub(value, 1, newline - 1), '^(([%da-z]+) ([^ ]+) ([^ ]+))(.*)$')
  if not head then error('FOREIGN') end
  local since = tonumber(seen, 36)
  local name, owner = string.match(rest, '^ ([^@#]*)(.*)$')
  return {
    head = head,
    seen = seen,
    since = since,
    expires = life == 'never' and NEVER or since + milliseconds(life),
    rev = rev,
    name = name or '',
    owner = owner or '',
    text = string.sub(value, newline)
  }
end
local function keep(value, expires)
  if expires == NEVER then return redis.call('SET', KEYS[1], value) end
  return redis.call('SET', KEYS[1], value, 'PXAT', string.format('%.0f', math.max(1, expires)))
end
local function reach(since, expires)
  if expires == NEVER then return NEVER end
  local life = math.min(math.max((expires - since) / 1000, 1), 2097152)
  local _, exponent = math.frexp(life)
  local step = 2 ^ (exponent - 1)
  return (math.floor(expires / 1000 / step) + 1) * step
end
local function indexed(name, owner)
  return owner == '' and '' or ' ' .. name .. owner
end
local old = redis.call('GET', KEYS[1])
if old then old = string.sub(old, 1, 10) ~= 'destroyed ' and split(old) end
`

/**
 * ARGV: the value, the revision expected, the name under which the caller has indexed it, if it has, and when it expires, if it has no
 * owner. Answers `gone`, `conflict`, `index` (the caller must index it first), or `ok` with the name and owner that no longer hold.
 *
 * What is most frequent comes first, in half the time: neither the old value nor the new one has an owner.
 */
export const UPDATE = script(`
if ARGV[4] then
  local kept = redis.call('GET', KEYS[1])
  local rev, after = string.match(kept or '', '^[%da-z]+ [%da-z-]+ ([^ \\n]+)()')
  if rev == ARGV[2] and string.byte(kept, after) == 10 then
    if ARGV[4] == 'never' then redis.call('SET', KEYS[1], ARGV[1])
    else redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[4]) end
    return 'ok'
  end
end
${HELPERS}
if not old then return 'gone' end
if old.rev ~= ARGV[2] then return 'conflict' end
local new = split(ARGV[1])
local name = ARGV[3] or ''
if new.owner ~= '' and name == '' then
  local holds = old.owner == new.owner and reach(old.since, old.expires) >= reach(new.since, new.expires)
  if not holds then return 'index' end
  name = old.name
end
keep(new.head .. indexed(name, new.owner) .. new.text, new.expires)
if old.name ~= name or old.owner ~= new.owner then return 'ok' .. indexed(old.name, old.owner) end
return 'ok'
`)

/**
 * ARGV: last seen (as in a value), expires, and the name under which the caller has indexed it, and for which owner, if it has. Answers
 * nothing if there is no record, `index` with the owner (the caller must index it first), or `ok` with the name and owner that no longer hold.
 */
export const TOUCH = script(`${HELPERS}
if not old then return false end
local seen, since = old.seen, old.since
if tonumber(ARGV[1], 36) > since then seen, since = ARGV[1], tonumber(ARGV[1], 36) end
local expires = math.max(old.expires, ARGV[2])
if since == old.since and expires == old.expires then return 'ok' end
local name, replaced = old.name, ''
if old.owner ~= '' and reach(since, expires) > reach(old.since, old.expires) then
  if ARGV[4] ~= old.owner then return 'index' .. old.owner end
  name, replaced = ARGV[3], indexed(name, old.owner)
end
local life = expires == NEVER and 'never' or lifetime(expires - since)
redis.call('PERSIST', KEYS[1])
keep(seen .. ' ' .. life .. ' ' .. old.rev .. indexed(name, old.owner) .. old.text, expires)
return 'ok' .. replaced
`)

/**
 * ARGV: until, and the owner that it must have, if any. Answers nothing if there is no such record, `destroyed` if it was destroyed before, or
 * the name and owner that held. What was destroyed before is written once more: WAIT counts only replicas that have the last write of its
 * own connection, and whoever destroyed it may not have heard from any.
 */
export const DESTROY = script(`${HELPERS}
if not old then
  local tombstone = redis.call('GET', KEYS[1])
  if not tombstone then return false end
  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', math.max(1, tonumber(string.sub(tombstone, 11)))))
  return 'destroyed'
end
if ARGV[2] and not string.find(' ' .. old.owner .. ' ', ' ' .. ARGV[2] .. ' ', 1, true) then return false end
redis.call('DEL', KEYS[1])
keep('destroyed ' .. ARGV[1], tonumber(ARGV[1]))
return old.name .. old.owner
`)

/** A read that no client sends to a replica; those of valkey-glide do with GET, if they are told to. */
export const LOAD_FRESH = script(`return redis.call('GET', KEYS[1])`)

/**
 * Of an index. ARGV: the score of an entry to add, the entry, and anything more if it is to be added to a full server as well;
 * or nothing and entries to remove. Prunes the index, and sets its expiry. Answers `taken` if there is such an entry already.
 */
export const INDEX = script(`
local answer = 'ok'
if ARGV[1] ~= '' then
  if ARGV[3] then redis.call('PERSIST', KEYS[1]) end
  if redis.call('ZADD', KEYS[1], 'NX', ARGV[1], ARGV[2]) == 0 then answer = 'taken' end
else
  for i = 2, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. redis.call('TIME')[1])
local last = tonumber(redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2])
if last == 8640000000000000 then
  redis.call('PERSIST', KEYS[1])
elseif last then
  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', math.max(1, last) * 1000))
end
return answer
`)

function script(source: string): Script {
  return { source, sha: createHash('sha1').update(source).digest('hex') }
}
