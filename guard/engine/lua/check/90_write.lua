-- Everything is decided: write ------------------------------------------------
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
if not requests_window.passed_by then counted(requests_window, 1, counts) end
if not first and tokens > 0 and not tokens_window.passed_by then
  counted(tokens_window, tokens, counts)
end
if #counts > 0 then redis.call('HSET', WIN, unpack(counts)) end
if first then
  if #ended > 0 then redis.call('HSET', HOLD, 'p', cmsgpack.pack(pending)) end
  return {'yes', first.a, first.r, first.d, first.e, 1, now, key, first.m, first.f,
    facts, limits, would}
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
  d = ARGV[13], e = hold_until, m = estimate, q = held, f = defaulted}), 'p',
  cmsgpack.pack(pending))
redis.call('ZADD', EXP, hold_until, key)
return {'yes', decision, throttle_reason, ARGV[13], hold_until, 0, now, key, estimate,
  defaulted, facts, limits, would}
