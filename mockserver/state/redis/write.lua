-- Writes an exchange into the journal. KEYS: the journal, how many requests have come, which exchange changed when, the
-- number of the last change. ARGV: its number, its text, how many are remembered, whether it has to be there already.
local number, count = tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[2]) or 0)
if number > count or count - number >= tonumber(ARGV[3]) then return end -- of a journal that is no more, or too old
if ARGV[4] == '1' and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HDEL', KEYS[1], ARGV[1] - ARGV[3])
redis.call('ZADD', KEYS[3], redis.call('INCR', KEYS[4]), ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1] - ARGV[3])
