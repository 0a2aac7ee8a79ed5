-- Takes hold of a world, and tells what others have written since this worker looked last.
-- ARGV: prefix, world, token ("worker number"), lease in ms, the worker's life in s, the life of the world that the
-- worker knows ('' for none), its version, most worlds, most bytes of records in all worlds.
-- Returns {0} where another worker holds it, {1} where the world that the worker knows is no more, else
-- {2, life, version, whether all is told, records and so on, bytes of files in all worlds, overrides, live workers}.
local prefix, world, token = ARGV[1], ARGV[2], ARGV[3]
local base = prefix .. 'world:' .. world .. ':'
local lock, meta = base .. 'lock', base .. 'meta'
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local holder = redis.call('GET', lock)
if holder and holder ~= token then
  local alive = redis.call('ZSCORE', prefix .. 'workers', string.match(holder, '^%S+'))
  if alive and tonumber(alive) > now then return {0} end
end
local life = redis.call('HGET', meta, 'life')
if ARGV[6] ~= '' and life ~= ARGV[6] then return {1} end
redis.call('SET', lock, token, 'PX', ARGV[4])
redis.call('ZADD', prefix .. 'workers', now + tonumber(ARGV[5]), string.match(token, '^%S+'))
redis.call('ZADD', prefix .. 'worlds', now, world)
if not life then
  life = token
  redis.call('HSET', meta, 'life', life, 'version', 0)
end

-- Room: the worlds that were used longest ago go, but none that is held, or in which a stream runs.
local most, heaviest = tonumber(ARGV[8]), tonumber(ARGV[9])
local function full()
  return redis.call('ZCARD', prefix .. 'worlds') > most
    or (tonumber(redis.call('HGET', prefix .. 'totals', 'state')) or 0) > heaviest
end
if full() then
  for _, one in ipairs(redis.call('ZRANGE', prefix .. 'worlds', 0, -1)) do
    local other = prefix .. 'world:' .. one .. ':'
    local used = tonumber(redis.call('ZSCORE', prefix .. 'worlds', one))
    local busy = redis.call('HGET', other .. 'meta', 'busy') == '1' and used > now - 3600
    if one ~= world and not busy and redis.call('EXISTS', other .. 'lock') == 0 then forget(prefix, one) end
    if not full() then break end
  end
end

local version = tonumber(redis.call('HGET', meta, 'version'))
local missed = version - tonumber(ARGV[7])
local whole = ARGV[6] == '' or missed < 0 or missed > redis.call('LLEN', base .. 'log')
local told = {}
local hashes = {r = base .. 'records', c = base .. 'counters', f = base .. 'files'}
if whole then
  for kind, hash in pairs(hashes) do
    local all = redis.call('HGETALL', hash)
    for at = 1, #all, 2 do
      told[#told + 1], told[#told + 2], told[#told + 3] = kind, all[at], all[at + 1]
    end
  end
elseif missed > 0 then
  local seen = {}
  for _, change in ipairs(redis.call('LRANGE', base .. 'log', -missed, -1)) do
    if not seen[change] then
      seen[change] = true
      local kind, place = string.sub(change, 1, 1), string.sub(change, 2)
      told[#told + 1], told[#told + 2] = kind, place
      told[#told + 1] = redis.call('HGET', hashes[kind], place)
    end
  end
end
return {
  2, life, version, whole and 1 or 0, told,
  tonumber(redis.call('HGET', prefix .. 'totals', 'files')) or 0,
  redis.call('HLEN', prefix .. 'overrides'),
  redis.call('ZRANGEBYSCORE', prefix .. 'workers', now, '+inf'),
}
