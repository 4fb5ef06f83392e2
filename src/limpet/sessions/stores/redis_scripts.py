"""The Lua scripts of the Redis store; each is one atomic step on the keys of one slot.

They say the same as `record.apply` and `transition`. A record is a hash:

    g incarnation | v version | e epoch at login | t last seen | m meta data | k last tokens
    f:NAME        `version:value` of a field

and a tombstone a hash with the one field d. Times are given in milliseconds since 1970.
"""

from __future__ import annotations

# Lua takes some 8000 values from a table at once, so many fields are written in several portions.
_WRITE_ALL = """
local function write_all(command, values, from)
  for at = from, #values, 2000 do
    redis.call(command, KEYS[1], unpack(values, at, math.min(at + 1999, #values)))
  end
end
"""

# WAIT waits for the last write of its own connection. Where an operation is sent again and finds its
# work done, it writes something all the same.
_WRITE_AGAIN = """
local function write_again()
  local until_ms = redis.call('PEXPIRETIME', KEYS[1])
  if until_ms > 0 then redis.call('PEXPIREAT', KEYS[1], until_ms) end
end
"""

#: KEYS record, and for a user epoch and index. ARGV until, ends, now, seed, is user, session, then names
#: and values.
CREATE = (
    _WRITE_ALL
    + _WRITE_AGAIN
    + """
local epoch = ''
if ARGV[5] == '1' then
  redis.call('SET', KEYS[2], ARGV[4], 'NX', 'PXAT', ARGV[2])
  redis.call('PEXPIREAT', KEYS[2], ARGV[2], 'GT')
  epoch = redis.call('GET', KEYS[2])
end
local before = redis.call('HGETALL', KEYS[1])
if #before > 0 then
  write_again()
  return {epoch, before}
end
redis.call('HSET', KEYS[1], 'e', epoch or '')
write_all('HSET', ARGV, 7)
redis.call('PEXPIREAT', KEYS[1], ARGV[1])
if ARGV[5] == '1' then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[3])
  redis.call('ZADD', KEYS[3], ARGV[2], ARGV[6])
  redis.call('PEXPIREAT', KEYS[3], ARGV[2], redis.call('PTTL', KEYS[3]) < 0 and 'NX' or 'GT')
end
return {epoch, {}}
"""
)

#: KEYS record, and for a user epoch and index. ARGV until, ends, incarnation, base version, token, seen,
#: meta (may be empty), is user, is exclusive, session, then for each change: name, base version, `set` or
#: `delete`, is strict, value.
COMMIT = (
    _WRITE_ALL
    + """
local now = redis.call('HMGET', KEYS[1], 'd', 'g', 'e', 'v', 'k', 't')
if now[1] then return {'gone', now[1]} end
if now[2] ~= ARGV[3] then return {'gone'} end
if ARGV[8] == '1' and redis.call('GET', KEYS[2]) ~= now[3] then return {'gone'} end
for at = 1, #now[5], 8 do
  if string.sub(now[5], at, at + 7) == ARGV[5] then return {'applied', now[4]} end
end
if ARGV[9] == '1' and now[4] ~= ARGV[4] then return {'conflict', redis.call('HGETALL', KEYS[1])} end
for i = 11, #ARGV, 5 do
  if ARGV[i + 3] == '1' then
    local field = redis.call('HGET', KEYS[1], 'f:' .. ARGV[i])
    if (field and string.match(field, '^%d+') or '0') ~= ARGV[i + 1] then
      return {'conflict', redis.call('HGETALL', KEYS[1])}
    end
  end
end
local version = now[4]
local sets = {'k', string.sub(now[5] .. ARGV[5], -64)}
if ARGV[7] ~= '' or #ARGV >= 11 then
  version = string.format('%.0f', now[4] + 1)
  sets[#sets + 1] = 'v'
  sets[#sets + 1] = version
end
if ARGV[7] ~= '' then
  sets[#sets + 1] = 'm'
  sets[#sets + 1] = ARGV[7]
end
if tonumber(ARGV[6]) > tonumber(now[6]) then
  sets[#sets + 1] = 't'
  sets[#sets + 1] = ARGV[6]
end
local deletes = {}
for i = 11, #ARGV, 5 do
  if ARGV[i + 2] == 'set' then
    sets[#sets + 1] = 'f:' .. ARGV[i]
    sets[#sets + 1] = version .. ':' .. ARGV[i + 4]
  else
    deletes[#deletes + 1] = 'f:' .. ARGV[i]
  end
end
write_all('HSET', sets, 1)
write_all('HDEL', deletes, 1)
redis.call('PEXPIREAT', KEYS[1], ARGV[1])
if ARGV[7] ~= '' and ARGV[8] == '1' then
  redis.call('PEXPIREAT', KEYS[2], ARGV[2], 'GT')
  redis.call('ZADD', KEYS[3], 'XX', 'GT', ARGV[2], ARGV[10])
  redis.call('PEXPIREAT', KEYS[3], ARGV[2], 'GT')
end
return {now[4] == ARGV[4] and 'applied' or 'merged', version}
"""
)

#: KEYS record, and for a user epoch and index. ARGV until, tombstone, is user, session, version (0: any).
END = (
    _WRITE_AGAIN
    + """
local epoch = ''
if ARGV[3] == '1' then epoch = redis.call('GET', KEYS[2]) end
local before = redis.call('HGETALL', KEYS[1])
local login, version = false, false
for i = 1, #before, 2 do
  if before[i] == 'e' then login = before[i + 1] end
  if before[i] == 'v' then version = before[i + 1] end
end
if epoch and login == epoch and (ARGV[5] == '0' or ARGV[5] == version) then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'd', ARGV[2])
  redis.call('PEXPIREAT', KEYS[1], ARGV[1])
  if ARGV[3] == '1' then redis.call('ZREM', KEYS[3], ARGV[4]) end
else
  write_again()
end
return {epoch, before}
"""
)
