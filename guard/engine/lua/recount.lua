#!lua
-- Recompute what is in flight from the holds themselves, and drop what ran out.
--
-- KEYS  {tag}:hold {tag}:exp
-- ARGV  1 the longest that a hold may live, in ms   2 the most holds to read
-- ->    {open holds, micros held, drift in micros}; {-1, 0, 0} when there are more
assert(#KEYS == 2 and #ARGV == 2, "two keys, two arguments")
local MARK_MS = 86400000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local most = tonumber(ARGV[2])
local keys = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now + ARGV[1], 'LIMIT', 0,
  most + 1)
if #keys > most then return {-1, 0, 0} end
local pending, ended, forgotten = {n = 0, m = 0, q = {}}, {}, {}
for _, key in ipairs(keys) do
  local raw = redis.call('HGET', KEYS[1], key)
  local hold = raw and raw ~= 'u' and cmsgpack.unpack(raw) or nil
  if hold and hold.e > now then
    pending.n, pending.m = pending.n + 1, pending.m + hold.m
    for name, quantity in pairs(hold.q) do
      pending.q[name] = (pending.q[name] or 0) + quantity
    end
  elseif hold then
    ended[#ended + 1] = key
  elseif tonumber(redis.call('ZSCORE', KEYS[2], key)) <= now then
    forgotten[#forgotten + 1] = key
  end
end
local raw = redis.call('HGET', KEYS[1], 'p')
local before = raw and cmsgpack.unpack(raw) or {n = 0, m = 0}
local gone = 0
for _, key in ipairs(ended) do
  gone = gone + cmsgpack.unpack(redis.call('HGET', KEYS[1], key)).m
  redis.call('HSET', KEYS[1], key, 'u')
  redis.call('ZADD', KEYS[2], now + MARK_MS, key)
end
for _, key in ipairs(forgotten) do
  redis.call('HDEL', KEYS[1], key)
  redis.call('ZREM', KEYS[2], key)
end
if raw or pending.n > 0 then
  redis.call('HSET', KEYS[1], 'p', cmsgpack.pack(pending))
end
return {pending.n, pending.m, before.m - gone - pending.m}
