#!lua
-- Decide one request: admit it against every limit at once, or move nothing.
--
-- KEYS  {tag}:cfg {tag}:use {tag}:hold {tag}:exp {tag}:win {tag}:sum {tag}:loop
--       of one customer
-- ARGV  1 tenant that must own the customer, or ''   2 credential digest, or ''
--       3 client id the credential must have, or ''  4 customer named, or ''
--       5 agent named, or ''                          6 team named, or ''
--       7 subscription named, or ''                   8 product named, or ''
--       9 feature named, or ''                       10 tenant named, or ''
--      11 request key (16 bytes), or '' to only ask   12 key to mint instead, or ''
--      13 decision id    14 estimated micros, or ''   15 ceiling in micros, or ''
--      16 estimated tokens, or ''                    17 hash of tool and arguments, or ''
--      18 how the last tool call ended: ok, error or '' 19 session key (16 bytes), or ''
--      20.. unit, quantity pairs
-- ->   {'cold'}                                       no projection: ask for one
--      {'no', reason, retry_at_ms, tail…}             refused, nothing moved
--      {'yes', decision, reason, decision_id, hold_until_ms, replayed, tail…}
-- tail  now_ms, request key, estimated micros, defaulted, flat facts, flat limits,
--       and after 'yes' {what would have been decided, why, the exemption used} and
--       what rules in shadow would have stopped, as flat limits
--
-- Numbers are whole and below 2^53; time is the server's; names of keys are in
-- guard/engine/keys.py; what the fields hold is in guard/engine/state.py.
local CFG, USE, HOLD, EXP, WIN, SUM, LOOP = unpack(KEYS)
local FIXED = 19 -- arguments before the pairs
assert(#KEYS == 7 and #ARGV >= FIXED, "seven keys, nineteen arguments or more")
local MICROS_MAX = 4503599627370496 -- 2^52: sums of two stay exact
local WINDOW_S = 60
local RING = 64 -- seconds kept of a sliding minute: at least WINDOW_S + 2
local MARK_MS = 86400000 -- a used request key is remembered for a day
local OPEN_MAX = 200000 -- calls of one customer that no usage has settled yet
local SWEEP_MAX = 64 -- expired holds given back by one check

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Who calls -----------------------------------------------------------------
local c = redis.call('HMGET', CFG, 'v', 'cust', 'c:' .. ARGV[2], 'xa:' .. ARGV[5],
  'xp:' .. ARGV[8])
local u = redis.call('HMGET', USE, 'v', 'cust', 'mg', 'lv')
if not (c[1] and c[2] and u[1] and u[2]) then return {'cold'} end
local cust = cmsgpack.unpack(c[2])
local total = cmsgpack.unpack(u[2])
local cred = c[3] and ARGV[2] ~= '' and cmsgpack.unpack(c[3]) or nil
local facts = {cust.id, '', '', '', '', cust.cur, 'open', '', 0, tonumber(c[1]), cust.ten, 0, ''}

local function refuse(reason, retry_at)
  return {'no', reason, retry_at or 0, now, '', 0, 0, facts, {}}
end

if ARGV[2] ~= '' then
  if not cred or (ARGV[1] ~= '' and ARGV[1] ~= cust.ten) then
    return refuse('credential.unknown')
  end
  if cred.rev then return refuse('credential.revoked') end
  if cred.exp and cred.exp <= now then return refuse('credential.expired') end
  if ARGV[3] ~= '' and cred.ci ~= ARGV[3] then return refuse('credential.unknown') end
  facts[5] = cred.id
elseif ARGV[1] ~= cust.ten then
  return refuse('identity.unknown')
end
if (ARGV[4] ~= '' and ARGV[4] ~= cust.id and ARGV[4] ~= cust.x)
    or (ARGV[10] ~= '' and ARGV[10] ~= cust.ten) then
  return refuse('identity.unknown')
end

