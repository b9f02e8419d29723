#!lua
-- Decide one request: admit it against every limit at once, or move nothing.
--
-- KEYS  {tag}:cfg {tag}:use {tag}:hold {tag}:exp {tag}:win   of one customer
-- ARGV  1 tenant that must own the customer, or ''   2 credential digest, or ''
--       3 client id the credential must have, or ''  4 customer named, or ''
--       5 agent named, or ''                          6 team named, or ''
--       7 subscription named, or ''                   8 product named, or ''
--       9 feature named, or ''                       10 tenant named, or ''
--      11 request key (16 bytes)                      12 key to mint instead, or ''
--      13 decision id    14 estimated micros, or ''   15 ceiling in micros, or ''
--      16 estimated tokens, or ''                     17.. unit, quantity pairs
-- ->   {'cold'}                                       no projection: ask for one
--      {'no', reason, retry_at_ms, tail…}             refused, nothing moved
--      {'yes', decision, reason, decision_id, hold_until_ms, replayed, tail…}
-- tail  now_ms, request key, estimated micros, defaulted, flat facts, flat limits
--
-- Numbers are whole and below 2^53; time is the server's; names of keys are in
-- guard/engine/keys.py; what the fields hold is in guard/engine/state.py.
local CFG, USE, HOLD, EXP, WIN = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
assert(#KEYS == 5 and #ARGV >= 16, "five keys, sixteen arguments or more")
local MICROS_MAX = 4503599627370496 -- 2^52: sums of two stay exact
local WINDOW_S = 60
local RING = 64 -- seconds kept of a sliding minute: at least WINDOW_S + 2
local MARK_MS = 86400000 -- a used request key is remembered for a day
local OPEN_MAX = 200000 -- calls of one customer that no usage has settled yet
local SWEEP_MAX = 64 -- expired holds given back by one check

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Who calls -----------------------------------------------------------------
local c = redis.call('HMGET', CFG, 'v', 'cust', 'c:' .. ARGV[2], 'xa:' .. ARGV[5],
  'xp:' .. ARGV[8])
local u = redis.call('HMGET', USE, 'v', 'cust')
if not (c[1] and c[2] and u[1] and u[2]) then return {'cold'} end
local cust = cmsgpack.unpack(c[2])
local total = cmsgpack.unpack(u[2])
local cred = c[3] and ARGV[2] ~= '' and cmsgpack.unpack(c[3]) or nil
local facts = {cust.id, '', '', '', '', cust.cur, 'open', '', 0, tonumber(c[1]), cust.ten}

local function refuse(reason, retry_at)
  return {'no', reason, retry_at or 0, now, '', 0, 0, facts, {}}
end

if ARGV[2] ~= '' then
  if not cred or (ARGV[1] ~= '' and ARGV[1] ~= cust.ten) then
    return refuse('credential.unknown')
  end
  if cred.rev then return refuse('credential.revoked') end
  if cred.exp and cred.exp <= now then return refuse('credential.expired') end
  if ARGV[3] ~= '' and cred.ci ~= ARGV[3] then return refuse('credential.unknown') end
  facts[5] = cred.id
elseif ARGV[1] ~= cust.ten then
  return refuse('identity.unknown')
end
if (ARGV[4] ~= '' and ARGV[4] ~= cust.id and ARGV[4] ~= cust.x)
    or (ARGV[10] ~= '' and ARGV[10] ~= cust.ten) then
  return refuse('identity.unknown')
end

-- On whose behalf -----------------------------------------------------------
local agent_id = cred and cred.ag or nil
if ARGV[5] ~= '' then
  if not c[4] or (agent_id and agent_id ~= c[4]) then
    return refuse('identity.unknown')
  end
  agent_id = c[4]
end
local agent
if agent_id then
  local raw = redis.call('HGET', CFG, 'a:' .. agent_id)
  if not raw then return refuse('identity.unknown') end
  agent = cmsgpack.unpack(raw)
  facts[2] = agent_id
end
if ARGV[6] ~= '' and not (agent and (agent.tm == ARGV[6] or agent.tx == ARGV[6])) then
  return refuse('identity.unknown')
end
if cust.st ~= 'active' then return refuse('customer.suspended') end
if agent and agent.st ~= 'active' then return refuse('agent.paused') end

-- For which product ---------------------------------------------------------
local function among(list, wanted)
  for _, one in ipairs(list) do
    if one == wanted then return true end
  end
  return false
end

local product = ARGV[8] ~= '' and c[5] or nil
if ARGV[8] ~= '' and not product then return refuse('product.not_entitled') end
if not product then
  for _, one in ipairs(cust.p) do
    if not cred or #cred.p == 0 or among(cred.p, one) then
      if product then return refuse('product.ambiguous') end
      product = one
    end
  end
end
if not product or (cred and #cred.p > 0 and not among(cred.p, product)) then
  return refuse('product.not_entitled')
end
local raws = redis.call('HMGET', CFG, 's:' .. product .. ':' .. (agent_id or ''),
  's:' .. product)
local raw_sub = raws[1] or raws[2]
if not raw_sub then return refuse('product.not_entitled') end
local sub = cmsgpack.unpack(raw_sub)
facts[3], facts[4], facts[7] = sub.id, product, sub.oo
facts[8], facts[9] = sub.tmod or '', cred and cred.exp or 0
if ARGV[7] ~= '' and ARGV[7] ~= sub.id then return refuse('identity.unknown') end
if sub.st ~= 'active' or (sub.to and sub.to <= now) or sub.from > now then
  return refuse('subscription.inactive')
end
if ARGV[9] ~= '' and not among(sub.f, ARGV[9]) then
  return refuse('feature.not_entitled')
end

-- What it may cost ----------------------------------------------------------
-- ceil(quantity × price ÷ 1e6) without a product above 2^53: both are split at 1e6.
local function priced(quantity, price)
  local qh, ph = math.floor(quantity / 1000000), math.floor(price / 1000000)
  local ql, pl = quantity - qh * 1000000, price - ph * 1000000
  return qh * price + ql * ph + math.ceil(ql * pl / 1000000)
end

local units, estimate, defaulted = {}, 0, 0
local tokens = tonumber(ARGV[16])
local known = false
for i = 17, #ARGV, 2 do
  local unit, quantity = ARGV[i], tonumber(ARGV[i + 1])
  units[unit] = quantity
  if sub.ep[unit] then
    known = true
    estimate = estimate + priced(quantity, sub.ep[unit])
  end
end
if not known and tokens and sub.ep.tokens then
  known = true
  estimate = priced(tokens, sub.ep.tokens)
end
if not tokens then
  tokens = (units.input_tokens or 0) + (units.output_tokens or 0)
end
if ARGV[14] ~= '' then
  estimate = tonumber(ARGV[14])
elseif not known then
  estimate, defaulted = sub.de, 1
end
if estimate > MICROS_MAX or tokens > MICROS_MAX then
  return refuse('estimate.too_large')
end
units.tokens = tokens
units.requests = 1

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

-- The sliding minute ---------------------------------------------------------
-- A head {total, second, count of that second}, and a ring of 64 fields with the
-- seconds before it, each {second, count}. A second counts until it is wholly 60 s
-- old, so no 60 s ever hold more than the limit. The clock never runs back: the last
-- second seen stands in for it. Within one second only the head is read and written.
local function slot(name, second)
  return name .. ':' .. second % RING
end

-- Counts of the seconds from..to that are still in the ring, {second, count} each.
local function ring(name, from, to)
  local names, found = {}, {}
  for second = from, to do names[#names + 1] = slot(name, second) end
  if #names == 0 then return found end
  for i, raw in ipairs(redis.call('HMGET', WIN, unpack(names))) do
    local one = raw and cmsgpack.unpack(raw)
    if one and one[1] == from + i - 1 then found[#found + 1] = one end
  end
  return found
end

local function slide(name, raw)
  local w = raw and cmsgpack.unpack(raw) or {0, 0, 0}
  w.name = name
  local second = math.max(math.floor(now / 1000), w[2])
  if second == w[2] then return w end
  w.past = w[3] > 0 and {w[2], w[3]} or nil -- moves into the ring when written
  if second - w[2] > WINDOW_S then
    w[1], w.past = 0, nil
  else
    for _, one in ipairs(ring(name, w[2] - WINDOW_S, second - WINDOW_S - 1)) do
      w[1] = w[1] - one[2]
    end
  end
  w[2], w[3] = second, 0
  return w
end

-- Appends to `out` the fields that count `count` more.
local function counted(w, count, out)
  local n = #out
  out[n + 1] = w.name
  out[n + 2] = cmsgpack.pack({w[1] + count, w[2], w[3] + count})
  if w.past then
    out[n + 3], out[n + 4] = slot(w.name, w.past[1]), cmsgpack.pack(w.past)
  end
end

-- When `count` more would fit, in ms; a minute from now when they never would.
local function fits_at(w, count, limit)
  local left = w[1] + count
  local parts = ring(w.name, w[2] - WINDOW_S, w[2] - 1)
  if w.past then parts[#parts + 1] = w.past end
  parts[#parts + 1] = {w[2], w[3]}
  for _, one in ipairs(parts) do
    left = left - one[2]
    if left <= limit then return (one[1] + WINDOW_S + 1) * 1000 end
  end
  return now + WINDOW_S * 1000
end

-- The checks, in order; the first refusal wins --------------------------------
local limits, throttle_reason, refused, retry_at = {}, '', nil, 0

local function report(name, unit, limit, used, reset_at)
  local n = #limits
  limits[n + 1], limits[n + 2], limits[n + 3] = name, unit, limit
  limits[n + 4], limits[n + 5] = used, reset_at
end

local rates = redis.call('HMGET', WIN, 'r:' .. sub.id, 't:' .. sub.id)
local requests_window = slide('r:' .. sub.id, rates[1])
local tokens_window = slide('t:' .. sub.id, rates[2])

local function rate(name, unit, limit, w, count)
  if not limit then return end
  local after = w[1] + count
  local reset_at = (w[2] + WINDOW_S + 1) * 1000
  if not refused and not first and after > limit then
    refused, retry_at = name, fits_at(w, count, limit)
    after, reset_at = w[1], retry_at
  elseif refused then
    after = w[1]
  end
  report(name, unit, limit, after, reset_at)
end

local function period_end(from)
  if from and from > now then return from end
  for _, bound in ipairs(cust.b) do
    if bound > now then return bound end
  end
  return 0
end

-- used: projected, dead once its window is over. Nothing fits a limit that is met,
-- however small the estimate; that also makes limit 0 block everything.
local function cumulative(name, unit, limit, used, window_end, waiting, need, policy)
  if not limit then return end
  local so_far = (window_end > now and used or 0) + waiting
  local reset_at = period_end(window_end)
  local over = not first and (so_far >= limit or so_far + need > limit)
  if over and policy == 'throttle' and throttle_reason == '' then
    throttle_reason = name
  end
  if over and policy == 'deny' and not refused then
    refused, retry_at = name, reset_at
  end
  local mine = (refused or first) and 0 or need
  report(name, unit, limit, so_far + mine, reset_at)
end

rate('requests.subscription.minute', 'requests', sub.rpm, requests_window, 1)
rate('tokens.subscription.minute', 'tokens', sub.tpm, tokens_window, tokens)

local raw_use = redis.call('HGET', USE, 's:' .. sub.id)
local mine = raw_use and cmsgpack.unpack(raw_use) or {m = 0, q = {}}
for _, quota in ipairs(sub.q) do
  cumulative('quota.subscription.period', quota.m, quota.l, mine.q[quota.m] or 0,
    total.e, pending.q[sub.id .. '|' .. quota.m] or 0, units[quota.m] or 0, quota.e)
end
local money = sub.id .. '|'
cumulative('spend_cap.subscription.period', 'micros', sub.cap, mine.m, total.e,
  pending.q[money] or 0, estimate, 'deny')
cumulative('spend_cap.customer.period', 'micros', cust.cap, total.m, total.e,
  pending.m, estimate, 'deny')
if sub.w then
  local left = total.w - pending.m
  if not refused and not first and (left <= 0 or left < estimate) then
    refused, retry_at = 'wallet.customer.balance', now + 60000
  end
  -- As a limit: the balance is what may be used, the pending holds what is.
  report('wallet.customer.balance', 'micros', total.w,
    pending.m + ((refused or first) and 0 or estimate), 0)
end
if not refused and not first and ARGV[15] ~= '' and estimate > tonumber(ARGV[15]) then
  refused, retry_at = 'ceiling.request.call', now + 60000
  report(refused, 'micros', tonumber(ARGV[15]), estimate, 0)
end
if not refused and not first and pending.n >= OPEN_MAX then
  refused, retry_at = 'open_calls.customer.total', now + 60000
  report(refused, 'calls', OPEN_MAX, pending.n, retry_at)
end

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
counted(requests_window, 1, counts)
if not first and tokens > 0 then counted(tokens_window, tokens, counts) end
redis.call('HSET', WIN, unpack(counts))
if first then
  if #ended > 0 then redis.call('HSET', HOLD, 'p', cmsgpack.pack(pending)) end
  return {'yes', first.a, first.r, first.d, first.e, 1, now, key, first.m, first.f,
    facts, limits}
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
  defaulted, facts, limits}
