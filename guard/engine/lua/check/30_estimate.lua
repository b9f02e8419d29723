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
for i = FIXED + 1, #ARGV, 2 do
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

