-- Everything is decided: write ------------------------------------------------
if dry and refused then
  return {'no', refused, retry_at, now, '', estimate, defaulted, facts, limits}
end
if dry then
  return {'yes', throttle_reason ~= '' and 'throttle' or 'allow', throttle_reason,
    ARGV[13], 0, 0, now, '', estimate, defaulted, facts, limits, marks, would}
end
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
if not requests_window.passed_by then counted(requests_window, 1, counts) end
if not first and tokens > 0 and not tokens_window.passed_by then
  counted(tokens_window, tokens, counts)
end
if #counts > 0 then redis.call('HSET', WIN, unpack(counts)) end
if first then
  return {'yes', first.a, first.r, first.d, first.e, 1, now, key, first.m, first.f,
    facts, limits, first.k or marks, would}
end
reserve(pending, mine, 1)
for i = #own, own_count + 1, -1 do own[i] = nil end -- only read, for the quotas
write_sums(SUM, own, pending)
local decision = throttle_reason ~= '' and 'throttle' or 'allow'
local hold_until = now + (sub.mc + 60) * 1000
mine.a, mine.r, mine.d = decision, throttle_reason, ARGV[13]
mine.e, mine.f = hold_until, defaulted
mine.k = (marks[1] ~= '' or marks[3] ~= '') and marks or nil
redis.call('HSET', HOLD, key, cmsgpack.pack(mine))
redis.call('ZADD', EXP, hold_until, key)
for _, one in ipairs(spent) do -- Forgotten like a used request, after it has ended.
  redis.call('HSET', HOLD, one, 'u')
  redis.call('ZADD', EXP, now + MARK_MS, one)
end
return {'yes', decision, throttle_reason, ARGV[13], hold_until, 0, now, key, estimate,
  defaulted, facts, limits, marks, would}
