-- Takes hold of a world, and tells what others have written since this worker looked last. The world stays held until
-- another worker asks for it; from then on for so many ms at most.
-- ARGV: prefix, world, worker, lease in ms, the worker's life in s, the life of the world that the worker knows ('' for
-- none), its version (-1: tell everything, -2: nothing), most worlds, most bytes of records in all worlds, what the names
-- of workers begin with that are not to be asked ('' for none).
-- Returns {0, worker} where another worker holds it, which is asked to let go if it may be, {1} where the world that the worker knows is no
-- more, else {2, life, version, whether all is told, records and so on, bytes of files in all worlds, live workers,
-- whether others have asked for it, worlds of this worker that were forgotten}.
local prefix, world, worker = ARGV[1], ARGV[2], ARGV[3]
local base = prefix .. 'world:' .. world .. ':'
local lock, meta, asking = base .. 'lock', base .. 'meta', base .. 'asking'
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local holder = redis.call('GET', lock)
if holder and holder ~= worker and is_alive(prefix, holder, now) then
  if ARGV[10] ~= '' and string.sub(holder, 1, #ARGV[10]) == ARGV[10] then return {0, holder} end
  redis.call('SADD', asking, worker)
  if redis.call('PTTL', lock) < 0 then redis.call('PEXPIRE', lock, ARGV[4]) end
  tell(prefix, holder, 'ask', world)
  return {0, holder}
end
local life = redis.call('HGET', meta, 'life')
if ARGV[6] ~= '' and life ~= ARGV[6] then
  let_go(prefix, world, worker, ARGV[4])
  return {1}
end
redis.call('SREM', asking, worker)
local asked = redis.call('SCARD', asking)
if asked > 0 then redis.call('SET', lock, worker, 'PX', ARGV[4]) else redis.call('SET', lock, worker) end
redis.call('ZADD', prefix .. 'workers', now + tonumber(ARGV[5]), worker)
redis.call('ZADD', prefix .. 'worlds', now, world)
if not life then
  life = worker .. ' ' .. time[1] .. '.' .. time[2]
  redis.call('HSET', meta, 'life', life, 'version', 0)
end

-- Room: the worlds that were used longest ago go, but none in which a stream runs. A worker that holds one is asked to
-- let go of it, and it goes the next time.
local most, heaviest = tonumber(ARGV[8]), tonumber(ARGV[9])
local function full()
  return redis.call('ZCARD', prefix .. 'worlds') > most
    or (tonumber(redis.call('HGET', prefix .. 'totals', 'state')) or 0) > heaviest
end
local forgotten = {}
if full() then
  for _, one in ipairs(redis.call('ZRANGE', prefix .. 'worlds', 0, -1)) do
    local other = prefix .. 'world:' .. one .. ':'
    local used = tonumber(redis.call('ZSCORE', prefix .. 'worlds', one))
    local busy = redis.call('HGET', other .. 'meta', 'busy') == '1' and used > now - 3600
    local held = redis.call('GET', other .. 'lock')
    if one ~= world and not busy then
      if held and held ~= worker and is_alive(prefix, held, now) then
        tell(prefix, held, 'ask', one)
      else
        forget(prefix, one)
        if held == worker then
          forgotten[#forgotten + 1] = one
          let_go(prefix, one, worker, ARGV[4])
        end
      end
    end
    if not full() then break end
  end
end

local version = tonumber(redis.call('HGET', meta, 'version'))
local known = tonumber(ARGV[7])
local missed = version - known
local whole = known ~= -2 and (ARGV[6] == '' or missed < 0 or missed > redis.call('LLEN', base .. 'log'))
local told = {}
local hashes = {r = base .. 'records', c = base .. 'counters', f = base .. 'files'}
if whole then
  for kind, hash in pairs(hashes) do
    local all = redis.call('HGETALL', hash)
    for at = 1, #all, 2 do
      told[#told + 1], told[#told + 2], told[#told + 3] = kind, all[at], all[at + 1]
    end
  end
elseif known >= 0 and missed > 0 then
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
  redis.call('ZRANGEBYSCORE', prefix .. 'workers', now, '+inf'),
  asked, forgotten,
}
