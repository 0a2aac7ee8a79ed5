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
