-- Writes exchanges into the journal. KEYS: the journal, how many requests have come.
-- ARGV: how many are remembered, then for each its number ('0' for a new one) and its text.
-- Returns their numbers.
local most, numbers = tonumber(ARGV[1]), {}
for at = 2, #ARGV, 2 do
  local number, text = tonumber(ARGV[at]), ARGV[at + 1]
  if number == 0 then
    number = redis.call('INCR', KEYS[2])
    if most > 0 then
      redis.call('HSET', KEYS[1], number, text)
      redis.call('HDEL', KEYS[1], number - most)
    end
  elseif redis.call('HEXISTS', KEYS[1], number) == 1 then -- not one that is forgotten
    redis.call('HSET', KEYS[1], number, text)
  end
  numbers[#numbers + 1] = number
end
return numbers
