#!lua
-- Recompute what is in flight from the holds themselves, and drop what ran out.
--
-- KEYS  {tag}:hold {tag}:exp {tag}:sum
-- ARGV  1 the longest that a hold may live, in ms   2 the most holds to read
-- ->    {open holds, micros held, drift in micros, sums that were wrong};
--       {-1, 0, 0, 0} when there are more
assert(#KEYS == 3 and #ARGV == 2, "three keys, two arguments")
local MARK_MS = 86400000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local most = tonumber(ARGV[2])
local keys = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now + ARGV[1], 'LIMIT', 0,
  most + 1)
if #keys > most then return {-1, 0, 0, 0} end
local sums, returned, ended, forgotten = {n = 0, m = 0}, {}, {}, {}
for _, key in ipairs(keys) do
  local raw = redis.call('HGET', KEYS[1], key)
  local hold = raw and raw ~= 'u' and cmsgpack.unpack(raw) or nil
  if hold and hold.e > now then
    reserve(sums, hold, 1)
  elseif hold then
    reserve(returned, hold, -1)
    ended[#ended + 1] = key
  elseif tonumber(redis.call('ZSCORE', KEYS[2], key)) <= now then
    forgotten[#forgotten + 1] = key
  end
end
-- What is stored, less what ran out, should be what was just summed.
local names, stored = {}, {}
local all = redis.call('HGETALL', KEYS[3])
for i = 1, #all, 2 do
  names[#names + 1], stored[all[i]] = all[i], tonumber(all[i + 1])
end
for name, change in pairs(returned) do stored[name] = (stored[name] or 0) + change end
local drift, wrong = (stored.m or 0) - sums.m, 0
for name, value in pairs(stored) do
  if value ~= (sums[name] or 0) then wrong = wrong + 1 end
end
for name, value in pairs(sums) do
  if value ~= 0 and not stored[name] then wrong = wrong + 1 end
end
for _, key in ipairs(ended) do
  redis.call('HSET', KEYS[1], key, 'u')
  redis.call('ZADD', KEYS[2], now + MARK_MS, key)
end
for _, key in ipairs(forgotten) do
  redis.call('HDEL', KEYS[1], key)
  redis.call('ZREM', KEYS[2], key)
end
redis.call('DEL', KEYS[3])
names = {}
for name in pairs(sums) do names[#names + 1] = name end
write_sums(KEYS[3], names, sums)
return {sums.n, sums.m, drift, wrong}
