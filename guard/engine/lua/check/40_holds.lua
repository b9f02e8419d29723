-- Holds: what is in flight, and what ran out ----------------------------------
local key = ARGV[11]
local h = redis.call('HMGET', HOLD, key, 'p')
if h[1] and ARGV[12] ~= '' then
  key = ARGV[12] -- a correlation id that is used stands in for nothing
  h[1] = redis.call('HGET', HOLD, key)
end
local pending = h[2] and cmsgpack.unpack(h[2]) or {n = 0, m = 0, q = {}}
local first = h[1] and h[1] ~= 'u' and cmsgpack.unpack(h[1]) or nil
if h[1] and not (first and first.e > now) then return refuse('request_id.used') end

local function give_back(hold)
  pending.n = pending.n - 1
  pending.m = pending.m - hold.m
  for name, quantity in pairs(hold.q) do
    local left = (pending.q[name] or 0) - quantity
    pending.q[name] = left ~= 0 and left or nil
  end
end

local ended, forgotten = {}, {}
for _, one in ipairs(redis.call('ZRANGEBYSCORE', EXP, '-inf', now, 'LIMIT', 0,
    SWEEP_MAX)) do
  local raw = redis.call('HGET', HOLD, one)
  if raw and raw ~= 'u' then
    give_back(cmsgpack.unpack(raw))
    ended[#ended + 1] = one
  else
    forgotten[#forgotten + 1] = one
  end
end

