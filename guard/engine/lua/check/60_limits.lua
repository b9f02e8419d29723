-- The checks, in order; the first refusal wins --------------------------------
if margin_level == 3 and not first and not waived(margin_reason) then
  return refuse(margin_reason, now + 60000)
end
local limits, throttle_reason = {}, slowed
if slowed == '' and margin_level == 2 and not waived(margin_reason, true) then
  throttle_reason = margin_reason
end
local refused, retry_at = loop_refused, loop_retry_at
if refused and waived(refused) then refused, retry_at = nil, 0 end

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
  if in_shadow(name, unit) then
    -- What it would have refused does not count for it: so it judges as if enforced.
    w.passed_by = not first and after > limit
    if w.passed_by then
      would_stop(name, unit, limit, w[1], fits_at(w, count, limit))
    end
    return
  end
  if not refused and not first and after > limit and not waived(name) then
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
  if in_shadow(name, unit) then
    if over and (policy == 'deny' or policy == 'throttle') then
      would_stop(name, unit, limit, so_far, reset_at)
    end
    return
  end
  if over and policy == 'throttle' and throttle_reason == ''
      and not waived(name, true) then
    throttle_reason = name
  end
  if over and policy == 'deny' and not refused and not waived(name) then
    refused, retry_at = name, reset_at
  end
  local mine = (refused or first) and 0 or need
  report(name, unit, limit, so_far + mine, reset_at)
end

rate('requests.subscription.minute', 'requests', sub.rpm, requests_window, 1)
rate('tokens.subscription.minute', 'tokens', sub.tpm, tokens_window, tokens)

local raw_use, agent_spend, team_spend
if agent and (agent.cap or agent.tcap) then
  raw_use, agent_spend, team_spend = unpack(redis.call('HMGET', USE, 's:' .. sub.id,
    'm:' .. agent_id, 'm:' .. agent.tm))
else
  raw_use = redis.call('HGET', USE, 's:' .. sub.id)
end
local used = raw_use and cmsgpack.unpack(raw_use) or {m = 0, q = {}}
for _, quota in ipairs(sub.q) do
  cumulative('quota.subscription.period', quota.m, quota.l, used.q[quota.m] or 0,
    total.e, pending[sub.id .. '|' .. quota.k], units[quota.m] or 0, quota.e)
end
if agent then
  cumulative('spend_cap.agent.period', 'micros', agent.cap, tonumber(agent_spend or 0),
    total.e, pending[agent_id], estimate, 'deny')
  cumulative('spend_cap.team.period', 'micros', agent.tcap, tonumber(team_spend or 0),
    total.e, pending[agent.tm], estimate, 'deny')
end
cumulative('spend_cap.subscription.period', 'micros', sub.cap, used.m, total.e,
  pending[sub.id], estimate, 'deny')
cumulative('spend_cap.customer.period', 'micros', cust.cap, total.m, total.e,
  pending.m, estimate, 'deny')
if sub.w then
  local left = total.w - pending.m
  if not refused and not first and (left <= 0 or left < estimate)
      and not waived('wallet.customer.balance') then
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

