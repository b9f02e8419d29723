#!lua
-- Void one hold: the call did not happen, so what was reserved is free again.
--
-- KEYS  {tag}:hold {tag}:exp {tag}:sum
-- ARGV  1 request key (16 bytes)   2 decision id the hold must have, or ''
-- ->    'released' | 'before' (released before) | 'used' (settled or expired before)
--       | 'unknown'
--
-- A released key is a used one like others; that a release did it is said by the half
-- millisecond in its score of {tag}:exp, which a settlement takes away again.
assert(#KEYS == 3 and #ARGV == 2, "three keys, two arguments")
local MARK_MS = 86400000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local raw = redis.call('HGET', KEYS[1], ARGV[1])
if not raw then return 'unknown' end
if raw == 'u' then
  local score = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or 0)
  return score % 1 ~= 0 and 'before' or 'used'
end
local hold = cmsgpack.unpack(raw)
if ARGV[2] ~= '' and hold.d ~= ARGV[2] then return 'unknown' end
local returned = {}
reserve(returned, hold, -1)
add_sums(KEYS[3], returned)
local open = hold.e > now
redis.call('HSET', KEYS[1], ARGV[1], 'u')
redis.call('ZADD', KEYS[2], now + MARK_MS + (open and 0.5 or 0), ARGV[1])
return open and 'released' or 'used'
