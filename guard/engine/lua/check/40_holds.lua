
-- Holds: what is in flight, and what ran out ----------------------------------
local key = ARGV[11]
local raw_hold = redis.call('HGET', HOLD, key)
if raw_hold and ARGV[12] ~= '' then
  key = ARGV[12] -- a correlation id that is used stands in for nothing
  raw_hold = redis.call('HGET', HOLD, key)
end
local first = raw_hold and raw_hold ~= 'u' and cmsgpack.unpack(raw_hold) or nil
if raw_hold and not (first and first.e > now) then return refuse('request_id.used') end

-- What this call would reserve, in every scope that there is. Units are the caller's
-- words: only their hash names a field.
local session = ARGV[17] ~= '' and 'ses:' .. ARGV[17] or nil
local mine = {m = estimate, s = {sub.id}, q = {requests = 1}}
mine.s[#mine.s + 1] = agent_id
mine.s[#mine.s + 1] = agent and agent.tm
mine.s[#mine.s + 1] = session
local own = {'n', 'm', unpack(mine.s)} -- fields that it moves
own[#own + 1] = sub.id .. '|requests'
for unit, quantity in pairs(units) do
  if quantity > 0 and unit ~= 'requests' then
    local name = unit == 'tokens' and unit or string.sub(redis.sha1hex(unit), 1, 16)
    mine.q[name] = quantity
    own[#own + 1] = sub.id .. '|' .. name
  end
end
local pending, looked_at = {}, {unpack(own)}
for _, quota in ipairs(sub.q) do looked_at[#looked_at + 1] = sub.id .. '|' .. quota.k end
read_sums(SUM, looked_at, pending)

local ended, forgotten, returned = {}, {}, {}
for _, one in ipairs(redis.call('ZRANGEBYSCORE', EXP, '-inf', now, 'LIMIT', 0,
    SWEEP_MAX)) do
  local raw = redis.call('HGET', HOLD, one)
  if raw and raw ~= 'u' then
    reserve(returned, cmsgpack.unpack(raw), -1)
    ended[#ended + 1] = one
  else
    forgotten[#forgotten + 1] = one
  end
end
for name, change in pairs(returned) do
  if pending[name] then pending[name] = pending[name] + change end
end
