"""The Lua scripts of the Redis store; each is one atomic step on the keys of one slot.

They say the same as `record.apply` and `transition`. A record is a hash:

    g incarnation | v version | e epoch at login | t last seen | m meta data | k last tokens
    f:NAME        `version:value` of a field

and a tombstone a hash with the one field d. Times are given in milliseconds since 1970.
"""

from __future__ import annotations

#: KEYS record, epoch, index. ARGV until, ends, now, seed, is user, session, then names and values.
CREATE = """
local epoch = ''
if ARGV[5] == '1' then
  redis.call('SET', KEYS[2], ARGV[4], 'NX', 'PXAT', ARGV[2])
  redis.call('PEXPIREAT', KEYS[2], ARGV[2], 'GT')
  epoch = redis.call('GET', KEYS[2])
end
local before = redis.call('HGETALL', KEYS[1])
if #before > 0 then return {epoch, before} end
redis.call('HSET', KEYS[1], 'e', epoch or '', unpack(ARGV, 7))
redis.call('PEXPIREAT', KEYS[1], ARGV[1])
if ARGV[5] == '1' then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[3])
  redis.call('ZADD', KEYS[3], ARGV[2], ARGV[6])
  redis.call('PEXPIREAT', KEYS[3], ARGV[2], redis.call('PTTL', KEYS[3]) < 0 and 'NX' or 'GT')
end
return {epoch, {}}
"""

#: KEYS record, epoch. ARGV until, ends, incarnation, base version, token, seen, meta (may be empty),
#: is user, then for each change: name, base version, `set` or `delete`, is strict, value.
COMMIT = """
local now = redis.call('HMGET', KEYS[1], 'd', 'g', 'e', 'v', 'k', 't')
if now[1] then return {'gone', now[1]} end
if now[2] ~= ARGV[3] then return {'gone'} end
if ARGV[8] == '1' and redis.call('GET', KEYS[2]) ~= now[3] then return {'gone'} end
for at = 1, #now[5], 8 do
  if string.sub(now[5], at, at + 7) == ARGV[5] then return {'applied'} end
end
for i = 9, #ARGV, 5 do
  if ARGV[i + 3] == '1' then
    local field = redis.call('HGET', KEYS[1], 'f:' .. ARGV[i])
    if (field and string.match(field, '^%d+') or '0') ~= ARGV[i + 1] then
      return {'conflict', redis.call('HGETALL', KEYS[1])}
    end
  end
end
local version = now[4]
local sets = {'k', string.sub(now[5] .. ARGV[5], -32)}
if ARGV[7] ~= '' or #ARGV >= 9 then
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
for i = 9, #ARGV, 5 do
  if ARGV[i + 2] == 'set' then
    sets[#sets + 1] = 'f:' .. ARGV[i]
    sets[#sets + 1] = version .. ':' .. ARGV[i + 4]
  else
    deletes[#deletes + 1] = 'f:' .. ARGV[i]
  end
end
redis.call('HSET', KEYS[1], unpack(sets))
if #deletes > 0 then redis.call('HDEL', KEYS[1], unpack(deletes)) end
redis.call('PEXPIREAT', KEYS[1], ARGV[1])
if ARGV[7] ~= '' and ARGV[8] == '1' then redis.call('PEXPIREAT', KEYS[2], ARGV[2], 'GT') end
return {now[4] == ARGV[4] and 'applied' or 'merged'}
"""

#: KEYS record, epoch, index. ARGV until, tombstone, is user, session.
END = """
local epoch = ''
if ARGV[3] == '1' then epoch = redis.call('GET', KEYS[2]) end
local before = redis.call('HGETALL', KEYS[1])
local login = false
for i = 1, #before, 2 do
  if before[i] == 'e' then login = before[i + 1] end
end
if epoch and login == epoch then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'd', ARGV[2])
  redis.call('PEXPIREAT', KEYS[1], ARGV[1])
  if ARGV[3] == '1' then redis.call('ZREM', KEYS[3], ARGV[4]) end
end
return {epoch, before}
"""
