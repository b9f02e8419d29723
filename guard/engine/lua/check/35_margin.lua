-- At what margin, and which limits a minute hold at its spend level -----------
-- u[3]: {subject: {severity, released until in ms}}, only of subjects that are not OK;
-- u[4]: {subscription: {thousandths and key inside the window, both after it}}. Both
-- are of the totals' window: at its end margins begin anew and spend is nothing.
local margin_reason, margin_level = '', 0
if u[3] and total.e > now then
  local margins = cmsgpack.unpack(u[3])
  local scopes = {'subscription', sub.id, 'customer', cust.id, 'agent', agent_id or '',
    'product', product}
  for i = 1, #scopes, 2 do
    local one = margins[scopes[i + 1]]
    local severity = one and ((one[1] == 3 and one[2] > now) and 1 or one[1]) or 0
    if severity > margin_level then
      margin_level = severity
      margin_reason = 'margin.' .. scopes[i] .. '.period'
    end
  end
end
facts[12] = margin_level
if u[4] then
  local level = cmsgpack.unpack(u[4])[sub.id]
  if level then
    local at = total.e > now and 1 or 3
    facts[13] = level[at + 1]
    if sub.rpm then sub.rpm = math.floor(sub.rpm * level[at] / 1000) end
    if sub.tpm then sub.tpm = math.floor(sub.tpm * level[at] / 1000) end
  end
end
if margin_level < 2 then margin_reason = '' end
