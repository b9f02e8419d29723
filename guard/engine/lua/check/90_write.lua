-- Everything is decided: write ------------------------------------------------
if dry and refused then
  return {'no', refused, retry_at, now, '', estimate, defaulted, facts, limits}
end
if dry then
  return {'yes', throttle_reason ~= '' and 'throttle' or 'allow', throttle_reason,
    ARGV[13], 0, 0, now, '', estimate, defaulted, facts, limits, marks}
end
for _, one in ipairs(ended) do
  redis.call('HSET', HOLD, one, 'u')
  redis.call('ZADD', EXP, now + MARK_MS, one)
end
if #forgotten > 0 then
  redis.call('HDEL', HOLD, unpack(forgotten))
  redis.call('ZREM', EXP, unpack(forgotten))
end
if refused then
  if #ended > 0 then redis.call('HSET', HOLD, 'p', cmsgpack.pack(pending)) end
  return {'no', refused, retry_at, now, key, estimate, defaulted, facts, limits}
end
local counts = {}
counted(requests_window, 1, counts)
if not first and tokens > 0 then counted(tokens_window, tokens, counts) end
redis.call('HSET', WIN, unpack(counts))
if first then
  if #ended > 0 then redis.call('HSET', HOLD, 'p', cmsgpack.pack(pending)) end
  return {'yes', first.a, first.r, first.d, first.e, 1, now, key, first.m, first.f,
    facts, limits, first.k or marks}
end
local held = {}
if sub.cap and estimate > 0 then held[money] = estimate end
for _, quota in ipairs(sub.q) do
  local need = units[quota.m] or 0
  if need > 0 then held[sub.id .. '|' .. quota.m] = need end
end
pending.n, pending.m = pending.n + 1, pending.m + estimate
for name, quantity in pairs(held) do
  pending.q[name] = (pending.q[name] or 0) + quantity
end
local decision = throttle_reason ~= '' and 'throttle' or 'allow'
local hold_until = now + (sub.mc + 60) * 1000
redis.call('HSET', HOLD, key, cmsgpack.pack({a = decision, r = throttle_reason,
  d = ARGV[13], e = hold_until, m = estimate, q = held, f = defaulted,
  k = (marks[1] ~= '' or marks[3] ~= '') and marks or nil}), 'p',
  cmsgpack.pack(pending))
redis.call('ZADD', EXP, hold_until, key)
for _, one in ipairs(spent) do -- Forgotten like a used request, after it has ended.
  redis.call('HSET', HOLD, one, 'u')
  redis.call('ZADD', EXP, now + MARK_MS, one)
end
return {'yes', decision, throttle_reason, ARGV[13], hold_until, 0, now, key, estimate,
  defaulted, facts, limits, marks}
