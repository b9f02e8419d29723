-- What a person decided --------------------------------------------------------
-- A throttle lies with the agent or the customer. Exemptions and observe-only are
-- read when a limit would refuse or slow, so a call within its limits costs nothing.
local dry = ARGV[11] == '' -- a question only: nothing is held, counted or written
local slowed = ''
if agent and agent.th and agent.th > now then
  slowed = 'agent.throttled'
elseif cust.th and cust.th > now then
  slowed = 'customer.throttled'
end
local marks = {'', '', ''} -- what would have been decided, why, and what exempted
local spent = {} -- exemptions for one call that this one takes
local decided

local function exempt(name)
  for _, one in ipairs(decided.over) do
    if one.l == name and one.e > now and (not one.a or one.a == agent_id)
        and not (one.k and redis.call('HEXISTS', HOLD, one.i) == 1) then
      marks[3] = one.i
      if one.k then spent[#spent + 1] = one.i end
      return true
    end
  end
  return false
end

-- Whether a limit does not bind this call; `slows` when it would only slow it. Not
-- asked for the caller's own ceiling and the bound on open calls: nobody lifts those.
local function waived(name, slows)
  if not decided then
    local raw = redis.call('HMGET', CFG, 'ob', 'ov')
    decided = {observe = tonumber(raw[1] or 0), over = raw[2]
      and cmsgpack.unpack(raw[2]) or {}}
  end
  if exempt(name) then return true end
  if decided.observe <= now then return false end
  if marks[1] == '' or (marks[1] == 'throttle' and not slows) then
    marks[1], marks[2] = slows and 'throttle' or 'deny', name
  end
  return true
end

