
-- Holds: what is in flight, and what ran out ----------------------------------
local key = ARGV[11]
local raw_hold = redis.call('HGET', HOLD, key)
if raw_hold and ARGV[12] ~= '' then
  key = ARGV[12] -- a correlation id that is used stands in for nothing
  raw_hold = redis.call('HGET', HOLD, key)
end
local first = raw_hold and raw_hold ~= 'u' and cmsgpack.unpack(raw_hold) or nil
if raw_hold and not (first and first.e > now) then return refuse('request_id.used') end

-- What this call would reserve, in every scope that there is, and the fields of sum
-- that it moves. Units are the caller's words: only their hash names a field.
local session = ARGV[19] ~= '' and 'ses:' .. ARGV[19] or nil
local of_sub = sub.id .. '|'
local mine = {m = estimate, s = {sub.id}, q = {requests = 1}}
local own = {'n', of_sub .. 'requests', 'm', sub.id}
local function also(scope)
  mine.s[#mine.s + 1], own[#own + 1] = scope, scope
end
if agent then
  also(agent_id)
  also(agent.tm)
end
if session then also(session) end
for unit, quantity in pairs(units) do
  if quantity > 0 and unit ~= 'requests' then
    local name = unit == 'tokens' and unit or string.sub(redis.sha1hex(unit), 1, 16)
    mine.q[name] = quantity
    own[#own + 1] = of_sub .. name
  end
end
local own_count = #own
for _, quota in ipairs(sub.q) do own[#own + 1] = of_sub .. quota.k end
local pending = {}
read_sums(SUM, own, pending)

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
