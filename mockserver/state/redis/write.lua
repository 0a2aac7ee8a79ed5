-- Writes exchanges into the journal. KEYS: the journal, how many requests have come, which exchange changed when, the
-- number of the last change. ARGV: how many are remembered, then for each its number ('0' for a new one) and its text.
-- Returns their numbers.
local most, numbers = tonumber(ARGV[1]), {}
for at = 2, #ARGV, 2 do
  local number, text = tonumber(ARGV[at]), ARGV[at + 1]
  local is_new = number == 0
  if is_new then number = redis.call('INCR', KEYS[2]) end
  if most > 0 and (is_new or redis.call('HEXISTS', KEYS[1], number) == 1) then -- not one that is forgotten
    redis.call('HSET', KEYS[1], number, text)
    redis.call('ZADD', KEYS[3], redis.call('INCR', KEYS[4]), number)
  end
  if is_new then
    redis.call('HDEL', KEYS[1], number - most)
    redis.call('ZREM', KEYS[3], number - most)
  end
  numbers[#numbers + 1] = number
end
return numbers
