-- What open holds reserve, summed per scope, so that a check of any limit reads one
-- number. This text stands at the head of every script that touches holds.
--
-- {tag}:sum  n, m → open calls, micros of the customer; <scope> → micros of one
--            subscription, agent, team or session; <subscription>|<unit> → quantity.
-- A hold     {a decision, r reason, d decision id, e end in ms, m micros, f defaulted,
--            s scopes, the subscription first, q unit → quantity}. It names every
--            scope and unit, also those without a limit now: one may come meanwhile.
-- Names of fields are made in guard/engine/keys.py.
local CHUNK = 500 -- arguments of one command, far below Lua's stack

-- Adds (sign 1) or takes back (sign -1) what a hold reserves.
local function reserve(sums, hold, sign)
  sums.n = (sums.n or 0) + sign
  local micros = sign * hold.m
  if micros ~= 0 then
    sums.m = (sums.m or 0) + micros
    for _, scope in ipairs(hold.s) do sums[scope] = (sums[scope] or 0) + micros end
  end
  for unit, quantity in pairs(hold.q) do
    local name = hold.s[1] .. '|' .. unit
    sums[name] = (sums[name] or 0) + sign * quantity
  end
end

-- Reads fields into `sums`; what is not there is 0.
local function read_sums(key, names, sums)
  for from = 1, #names, CHUNK do
    local values = redis.call('HMGET', key,
      unpack(names, from, math.min(#names, from + CHUNK - 1)))
    for i = 1, #values do
      sums[names[from + i - 1]] = values[i] and tonumber(values[i]) or 0
    end
  end
end

-- Writes fields as `sums` says; what came to nothing goes.
local function write_sums(key, names, sums)
  local kept, gone, n = {}, {}, 0
  for i = 1, #names do
    local name = names[i]
    local value = sums[name]
    if value ~= 0 then
      kept[n + 1], kept[n + 2], n = name, value, n + 2
    else
      gone[#gone + 1] = name
    end
  end
  for from = 1, #kept, CHUNK do
    redis.call('HSET', key, unpack(kept, from, math.min(#kept, from + CHUNK - 1)))
  end
  for from = 1, #gone, CHUNK do
    redis.call('HDEL', key, unpack(gone, from, math.min(#gone, from + CHUNK - 1)))
  end
end

-- Adds changes to what is stored.
local function add_sums(key, changes)
  local names, sums = {}, {}
  for name in pairs(changes) do names[#names + 1] = name end
  if #names == 0 then return end
  read_sums(key, names, sums)
  for name, change in pairs(changes) do sums[name] = sums[name] + change end
  write_sums(key, names, sums)
end

