
-- Loops: the same call again and again, retries, errors in a row -----------------
-- A table of 256 buckets with at most 8 entries a kind, so what a customer keeps is
-- bounded whatever is sent; in a full bucket the least counted, oldest entry gives
-- way: a loop counts more than calls that come once. Names are hashes made here.
-- An entry of a window: {name, slice in ms, number of the newest slice, counts of it
-- and of the ten before it}; a slice counts until it is wholly a window old. Of a
-- streak: {name, 0, ms of the newest error, errors}.
local SLICES = 10
local WAYS = 8
local STREAK_MS = 60000 -- a streak is over when this long nothing failed
local LOOP_TTL_S = 7300 -- longer than the longest window, an hour
local lo = sub.lo
local loops, loop_limits, loop_refused, loop_retry_at = {}, {}, nil, 0

local function entry_of(kind, name, into)
  local hex = redis.sha1hex(name)
  into[#into + 1] = {field = kind .. string.sub(hex, 1, 2), name = string.sub(hex, 3, 18)}
  return into[#into]
end

local function read_entries(found)
  local names = {}
  for i, one in ipairs(found) do names[i] = one.field end
  for i, raw in ipairs(redis.call('HMGET', LOOP, unpack(names))) do
    local one = found[i]
    one.bucket = raw and cmsgpack.unpack(raw) or {}
    for at, entry in ipairs(one.bucket) do
      if entry[1] == one.name then one.at, one.entry = at, entry end
    end
  end
end

-- What is counted of a window's entry, its slices brought to this moment.
local function turned(one, slice)
  local old = one.entry and one.entry[2] == slice and one.entry or nil
  local newest = math.max(math.floor(now / slice), old and old[3] or 0)
  local shift = old and newest - old[3] or SLICES + 1
  local entry, sum = {one.name, slice, newest}, 0
  for i = 0, SLICES do
    entry[4 + i] = i >= shift and old[4 + i - shift] or 0
    sum = sum + entry[4 + i]
  end
  one.entry = entry
  return sum
end

local function window_frees_at(entry, over)
  for i = SLICES, 0, -1 do
    over = over - entry[4 + i]
    if over <= 0 then return (entry[3] - i + SLICES + 1) * entry[2] end
  end
  return now + SLICES * entry[2]
end

-- Looks at one rule; `stops` when it refuses. Returns whether the call is counted.
local function loop_judge(name, unit, limit, used, reset_at, stops)
  if in_shadow(name, unit) then
    if stops then would_stop(name, unit, limit, used, reset_at) end
    return not stops
  end
  if stops and not loop_refused then loop_refused, loop_retry_at = name, reset_at end
  local n = #loop_limits
  loop_limits[n + 1], loop_limits[n + 2], loop_limits[n + 3] = name, unit, limit
  loop_limits[n + 4], loop_limits[n + 5] = used, reset_at
  return not stops
end

local function loop_window(one, name, unit, rule)
  local slice = rule.s * 1000 / SLICES
  local used = turned(one, slice)
  local entry = one.entry
  local stops = used + 1 > rule.n
  local frees_at = stops and window_frees_at(entry, used + 1 - rule.n)
    or (entry[3] + SLICES + 1) * slice
  if loop_judge(name, unit, rule.n, stops and used or used + 1, frees_at, stops) then
    entry[4] = entry[4] + 1
    loops[#loops + 1] = one
  end
end

-- A streak grows with errors, ends with a success, and rests after a minute.
local function loop_streak(one, limit)
  local entry = one.entry
  if entry and now - entry[3] >= STREAK_MS then entry = nil end
  if ARGV[18] == 'ok' then
    if entry then
      one.over = true
      loops[#loops + 1] = one
    end
    return
  end
  local failed = ARGV[18] == 'error' and 1 or 0
  local used = (entry and entry[4] or 0) + failed
  local reset_at = (entry and entry[3] or now) + STREAK_MS
  if loop_judge('loop.agent.streak', 'errors', limit, used, reset_at, used >= limit)
      and failed == 1 then
    one.entry = {one.name, 0, now, used}
    loops[#loops + 1] = one
  end
end

if lo then
  local found, who = {}, sub.id .. ':' .. (agent_id or '')
  local retried = lo.r and (first or key ~= ARGV[11])
    and entry_of('r', sub.id .. ':' .. ARGV[11], found)
  local call = lo.c and not first and ARGV[17] ~= ''
    and entry_of('c', who .. ':' .. ARGV[17], found)
  local streak = lo.e and not first and entry_of('e', who .. ':' .. ARGV[19], found)
  if #found > 0 then
    read_entries(found)
    if call then loop_window(call, 'loop.call.window', 'calls', lo.c) end
    if retried then loop_window(retried, 'loop.request.window', 'retries', lo.r) end
    if streak then loop_streak(streak, lo.e) end
  end
end
