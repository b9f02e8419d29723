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

