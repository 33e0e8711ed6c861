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
local function split(value)
  local newline = string.find(value, '\\n', 1, true) or error('FOREIGN')
  local head, seen, life, rev, rest = string.match(string.sub(value, 1, newline - 1), '^((%d+) ([^ ]+) ([^ ]+))(.*)$')
  if not tonumber(seen) or life ~= 'never' and not tonumber(life) then error('FOREIGN') end
  local index, owner = string.match(rest, '^( @[^ ]+)(.*)$')
  return {
    head = head,
    seen = tonumber(seen),
    expires = life == 'never' and NEVER or seen + life,
    rev = rev,
    index = index or '',
    owner = owner or rest,
    text = string.sub(value, newline)
  }
end
local function keep(value, expires)
  if expires == NEVER then return redis.call('SET', KEYS[1], value) end
  return redis.call('SET', KEYS[1], value, 'PXAT', string.format('%.0f', math.max(1, expires)))
end
local function reaches(index, expires)
  return tonumber(string.match(index, '[^.]+$'), 36) >= expires
end
local old = redis.call('GET', KEYS[1])
if old then old = string.byte(old) ~= 100 and split(old) end
`

/**
 * ARGV: the value, the revision expected, how the caller has indexed it, if it has, and when it expires, if it has no owner. Answers
 * `gone`, `conflict`, `index` (the caller must index it first), or `ok` with the index and owner that no longer hold.
 *
 * What is most frequent comes first, in half the time: neither the old value nor the new one has an owner.
 */
export const UPDATE = script(`
if ARGV[4] then
  local kept = redis.call('GET', KEYS[1])
  local rev, after = string.match(kept or '', '^%d+ [%dnevr]+ ([^ \\n]+)()')
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
local index = ARGV[3] or ''
if new.owner ~= '' and index == '' then
  if old.owner ~= new.owner or not reaches(old.index, new.expires) then return 'index' end
  index = old.index
end
keep(new.head .. index .. new.owner .. new.text, new.expires)
if old.index ~= index then return 'ok' .. old.index .. old.owner end
return 'ok'
`)

/**
 * ARGV: last seen, expires, and how the caller has indexed it, and for which owner, if it has. Answers nothing if there is no
 * record, `index` with the owner (the caller must index it first), or `ok` with the index and owner that no longer hold.
 */
export const TOUCH = script(`${HELPERS}
if not old then return false end
local seen = math.max(old.seen, ARGV[1])
local expires = math.max(old.expires, ARGV[2])
if seen == old.seen and expires == old.expires then return 'ok' end
local index, replaced = old.index, ''
if old.owner ~= '' and not reaches(index, expires) then
  if ARGV[4] ~= old.owner then return 'index' .. old.owner end
  index, replaced = ARGV[3], index .. old.owner
end
local life = expires == NEVER and 'never' or string.format('%.0f', expires - seen)
redis.call('PERSIST', KEYS[1])
keep(string.format('%.0f', seen) .. ' ' .. life .. ' ' .. old.rev .. index .. old.owner .. old.text, expires)
return 'ok' .. replaced
`)

/** ARGV: until, and the owner that it must have, if any. Answers nothing if there is no such record, or its index and owner. */
export const DESTROY = script(`${HELPERS}
if not old then return false end
if ARGV[2] and not string.find(old.owner .. ' ', ARGV[2] .. ' ', 1, true) then return false end
redis.call('DEL', KEYS[1])
keep('destroyed ' .. ARGV[1], tonumber(ARGV[1]))
return old.index .. old.owner
`)

/** A read that no client sends to a replica; those of valkey-glide do with GET, if they are told to. */
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
