-- Deletes a world. Bytes of its files stay for a minute, for downloads that are still going on.
local function forget(prefix, world)
  local base = prefix .. 'world:' .. world .. ':'
  local bytes = redis.call('HMGET', base .. 'meta', 'state', 'files')
  redis.call('HINCRBY', prefix .. 'totals', 'state', 0 - (tonumber(bytes[1]) or 0)) -- Lua's -0 is no integer to Redis
  redis.call('HINCRBY', prefix .. 'totals', 'files', 0 - (tonumber(bytes[2]) or 0))
  for _, file in ipairs(redis.call('HVALS', base .. 'files')) do
    redis.call('EXPIRE', prefix .. 'content:' .. string.match(file, '^%S+'), 60)
  end
  redis.call('DEL', base .. 'meta', base .. 'records', base .. 'counters', base .. 'files', base .. 'log')
  return redis.call('ZREM', prefix .. 'worlds', world)
end

-- Says something about a world to the process of a worker, whose name is `process-number`.
local function tell(prefix, worker, what, world)
  redis.call('PUBLISH', prefix .. 'to:' .. string.match(worker, '^(.*)%-%d+$'), cjson.encode({what, world}))
end

local function is_alive(prefix, worker, now)
  local until_when = redis.call('ZSCORE', prefix .. 'workers', worker)
  return until_when and tonumber(until_when) > now
end

-- Lets go of a world that a worker holds: whoever has asked for it holds it now, and is told.
local function let_go(prefix, world, worker, lease_ms)
  local base = prefix .. 'world:' .. world .. ':'
  if redis.call('GET', base .. 'lock') ~= worker then return end
  redis.call('DEL', base .. 'lock')
  local time = redis.call('TIME')
  local following = redis.call('SPOP', base .. 'asking')
  while following do
    if is_alive(prefix, following, tonumber(time[1])) then
      redis.call('SET', base .. 'lock', following, 'PX', lease_ms)
      tell(prefix, following, 'free', world)
      return
    end
    following = redis.call('SPOP', base .. 'asking')
  end
end
