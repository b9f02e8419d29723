
-- Loops: tell of them, and count what passes -------------------------------------
for i = 1, #loop_limits do limits[#limits + 1] = loop_limits[i] end

-- What is left of an entry at this moment; nothing when it has run out.
local function weight_of(entry)
  if entry[2] == 0 then
    return now - entry[3] < STREAK_MS and entry[4] or 0
  end
  if (entry[3] + SLICES + 1) * entry[2] <= now then return 0 end
  local sum = 0
  for i = 4, #entry do sum = sum + entry[i] end
  return sum
end

local function with_entry(one)
  local kept, lightest, least = {}, nil, nil
  for _, entry in ipairs(one.bucket) do
    local weight = entry[1] ~= one.name and weight_of(entry) or 0
    if weight > 0 then
      kept[#kept + 1] = entry
      if not least or weight < least then lightest, least = #kept, weight end
    end
  end
  if not one.over then
    if #kept >= WAYS then table.remove(kept, lightest) end
    kept[#kept + 1] = one.entry -- the youngest stands last
  end
  return kept
end

if not refused and not dry and #loops > 0 then
  local fields = {}
  for _, one in ipairs(loops) do
    fields[#fields + 1], fields[#fields + 2] = one.field, cmsgpack.pack(with_entry(one))
  end
  redis.call('HSET', LOOP, unpack(fields))
  redis.call('EXPIRE', LOOP, LOOP_TTL_S)
end
