-- Takes back that an order was counted, unless another one stands in its place by now. KEYS: as for take.lua.
-- ARGV: which order, and what it says.
local standing = redis.call('HGET', KEYS[1], ARGV[1])
if not standing then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
elseif standing ~= ARGV[2] or redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then
  return
end
redis.call('HINCRBY', KEYS[2], ARGV[1], 1)
