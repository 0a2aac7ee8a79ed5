-- Returns the order of the first that stands, which it is, and whether it was counted; counts it. KEYS: orders, how often each is left.
-- ARGV: the orders that concern the request.
for _, order in ipairs(ARGV) do
  local scenario = redis.call('HGET', KEYS[1], order)
  if scenario then
    local counted = redis.call('HEXISTS', KEYS[2], order)
    if counted == 1 and redis.call('HINCRBY', KEYS[2], order, -1) < 1 then
      redis.call('HDEL', KEYS[1], order)
      redis.call('HDEL', KEYS[2], order)
    end
    return {scenario, order, counted}
  end
end
return false
