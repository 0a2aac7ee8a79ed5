-- Writes what has changed in a world, all or nothing, and lets go of it.
-- ARGV: prefix, world, token, the world's life, whether a stream runs in it, how many changes are remembered,
-- then for each change: r(ecord), c(ounter) or f(ile), its place, its text ('' where it is deleted).
-- Returns 2 when that is done, 1 where the world is no more, 0 where another worker has taken hold of it.
local prefix, world, token = ARGV[1], ARGV[2], ARGV[3]
local base = prefix .. 'world:' .. world .. ':'
local meta = base .. 'meta'
local held = redis.call('GET', base .. 'lock') == token
if redis.call('HGET', meta, 'life') ~= ARGV[4] then
  if held then redis.call('DEL', base .. 'lock') end
  return 1
end
if not held then
  return redis.call('HGET', meta, 'last') == token and 2 or 0 -- the client asks again when the answer was lost
end
local function add(what, size)
  redis.call('HINCRBY', meta, what, size)
  redis.call('HINCRBY', prefix .. 'totals', what, size)
end
local hashes = {r = base .. 'records', c = base .. 'counters', f = base .. 'files'}
for at = 7, #ARGV, 3 do
  local kind, place, text = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local hash = hashes[kind]
  if kind == 'r' then
    add('state', #text - redis.call('HSTRLEN', hash, place))
  elseif kind == 'f' then
    local before = redis.call('HGET', hash, place)
    if before then
      redis.call('EXPIRE', prefix .. 'content:' .. string.match(before, '^%S+'), 60)
      add('files', 0 - tonumber(string.match(before, '%S+$')))
    end
    if text ~= '' then
      redis.call('PERSIST', prefix .. 'content:' .. string.match(text, '^%S+'))
      add('files', tonumber(string.match(text, '%S+$')))
    end
  end
  if text == '' then redis.call('HDEL', hash, place) else redis.call('HSET', hash, place, text) end
  redis.call('RPUSH', base .. 'log', kind .. place)
end
if #ARGV > 6 then
  redis.call('LTRIM', base .. 'log', -tonumber(ARGV[6]), -1)
  redis.call('HINCRBY', meta, 'version', (#ARGV - 6) / 3)
  redis.call('HSET', meta, 'last', token, 'busy', ARGV[5])
end
redis.call('DEL', base .. 'lock')
return 2
