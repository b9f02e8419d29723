#!lua
-- Replace what the edge knows of one customer, and settle the holds of its usage.
--
-- KEYS  {tag}:cfg {tag}:use {tag}:hold {tag}:exp {tag}:sum
-- ARGV  1 config version, or '' when no config is given
--       2 totals version, or '' when no totals are given
--       3 '1' to replace newer state too (repair)
--       4 count of config fields   5 count of totals fields
--       6.. field, value pairs of both, then settled request keys (16 bytes each)
-- ->    {config replaced, totals replaced, holds settled}
--
-- State is absolute: an older version never replaces a newer one, and the same one
-- may be written again. Holds are settled by any version: their usage is in it.
assert(#KEYS == 5 and #ARGV >= 5, "five keys, five arguments or more")
local MARK_MS = 86400000
local KNOWN_MAX = 400000 -- request keys kept for one customer; above, none is added
local n_cfg, n_use = tonumber(ARGV[4]), tonumber(ARGV[5])
local after_cfg = 5 + 2 * n_cfg
local after_use = after_cfg + 2 * n_use
assert(#ARGV >= after_use, "fewer fields than counted")

local function newer(key, version)
  if version == '' then return false end
  local current = redis.call('HGET', key, 'v')
  return ARGV[3] == '1' or not current or tonumber(version) >= tonumber(current)
end

local function replace(key, version, first, last)
  redis.call('DEL', key)
  redis.call('HSET', key, 'v', version)
  for from = first, last, CHUNK do
    redis.call('HSET', key, unpack(ARGV, from, math.min(last, from + CHUNK - 1)))
  end
end

local new_cfg, new_use = newer(KEYS[1], ARGV[1]), newer(KEYS[2], ARGV[2])
if new_cfg then replace(KEYS[1], ARGV[1], 6, after_cfg) end
if new_use then replace(KEYS[2], ARGV[2], after_cfg + 1, after_use) end

local settled = 0
if #ARGV > after_use then
  local time = redis.call('TIME')
  local until_ms = time[1] * 1000 + math.floor(time[2] / 1000) + MARK_MS
  local returned = {}
  local room = redis.call('HLEN', KEYS[3]) < KNOWN_MAX
  for i = after_use + 1, #ARGV do
    local hold = redis.call('HGET', KEYS[3], ARGV[i])
    if hold and hold ~= 'u' then
      settled = settled + 1
      reserve(returned, cmsgpack.unpack(hold), -1)
    end
    if hold or room then
      redis.call('HSET', KEYS[3], ARGV[i], 'u')
      redis.call('ZADD', KEYS[4], until_ms, ARGV[i])
    end
  end
  add_sums(KEYS[5], returned)
end
return {new_cfg and 1 or 0, new_use and 1 or 0, settled}
