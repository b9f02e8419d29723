-- Everything is decided: write ------------------------------------------------
for _, one in ipairs(ended) do
  redis.call('HSET', HOLD, one, 'u')
  redis.call('ZADD', EXP, now + MARK_MS, one)
end
if #forgotten > 0 then
  redis.call('HDEL', HOLD, unpack(forgotten))
  redis.call('ZREM', EXP, unpack(forgotten))
end
add_sums(SUM, returned)
if refused then
  return {'no', refused, retry_at, now, key, estimate, defaulted, facts, limits}
end
local counts = {}
counted(requests_window, 1, counts)
if not first and tokens > 0 then counted(tokens_window, tokens, counts) end
redis.call('HSET', WIN, unpack(counts))
if first then
  return {'yes', first.a, first.r, first.d, first.e, 1, now, key, first.m, first.f,
    facts, limits}
end
reserve(pending, mine, 1)
for i = #own, own_count + 1, -1 do own[i] = nil end -- only read, for the quotas
write_sums(SUM, own, pending)
local decision = throttle_reason ~= '' and 'throttle' or 'allow'
local hold_until = now + (sub.mc + 60) * 1000
mine.a, mine.r, mine.d = decision, throttle_reason, ARGV[13]
mine.e, mine.f = hold_until, defaulted
redis.call('HSET', HOLD, key, cmsgpack.pack(mine))
redis.call('ZADD', EXP, hold_until, key)
return {'yes', decision, throttle_reason, ARGV[13], hold_until, 0, now, key, estimate,
  defaulted, facts, limits}
