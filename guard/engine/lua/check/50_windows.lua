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

