
-- Rules in shadow: judged, never enforced ---------------------------------------
-- sub.sh names them by reason, quotas by reason|unit. What one would have refused or
-- slowed is noted in `would` as limits are, and no caller is told of it.
local would = {}

local function in_shadow(name, unit)
  return sub.sh and (sub.sh[name] or sub.sh[name .. '|' .. unit]) or false
end

local function would_stop(name, unit, limit, used, reset_at)
  local n = #would
  would[n + 1], would[n + 2], would[n + 3] = name, unit, limit
  would[n + 4], would[n + 5] = used, reset_at
end
