-- Writes what has changed in a world, all or nothing; lets go of it if that is said.
-- ARGV: prefix, world, worker, what tells this from all other commits, the world's life, whether a stream runs in it, how
-- many changes are remembered, lease in ms, whether to let go,
-- then for each change: r(ecord), c(ounter) or f(ile), its place, its text ('' where it is deleted).
-- Returns {2, bytes of files in all worlds} when that is done, {1} where the world is no more, {0} where another worker
-- has taken hold of it.
local prefix, world, worker = ARGV[1], ARGV[2], ARGV[3]
local base = prefix .. 'world:' .. world .. ':'
local meta = base .. 'meta'
local known = redis.call('HMGET', meta, 'life', 'last')
local done = {2, tonumber(redis.call('HGET', prefix .. 'totals', 'files')) or 0}
if known[1] == ARGV[5] and known[2] == ARGV[4] then return done end -- the client asks again when the answer was lost
local held = redis.call('GET', base .. 'lock') == worker
if known[1] ~= ARGV[5] then
  if held then let_go(prefix, world, worker, ARGV[8]) end
  return {1}
end
if not held then return {0} end
local totals = {state = 0, files = 0}
local hashes = {r = base .. 'records', c = base .. 'counters', f = base .. 'files'}
local log = {}
for at = 10, #ARGV, 3 do
  local kind, place, text = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local hash = hashes[kind]
  if kind == 'r' then
    totals.state = totals.state + #text - redis.call('HSTRLEN', hash, place)
  elseif kind == 'f' then
    local before = redis.call('HGET', hash, place)
    if before then
      redis.call('EXPIRE', prefix .. 'content:' .. string.match(before, '^%S+'), 60)
      totals.files = totals.files - tonumber(string.match(before, '%S+$'))
    end
    if text ~= '' then
      redis.call('PERSIST', prefix .. 'content:' .. string.match(text, '^%S+'))
      totals.files = totals.files + tonumber(string.match(text, '%S+$'))
    end
  end
  if text == '' then redis.call('HDEL', hash, place) else redis.call('HSET', hash, place, text) end
  log[#log + 1] = kind .. place
  if #log == 1000 or at + 3 > #ARGV then
    redis.call('RPUSH', base .. 'log', unpack(log))
    log = {}
  end
end
for what, size in pairs(totals) do
  if size ~= 0 then
    redis.call('HINCRBY', meta, what, size)
    redis.call('HINCRBY', prefix .. 'totals', what, size)
  end
end
if #ARGV > 9 then
  redis.call('LTRIM', base .. 'log', -tonumber(ARGV[7]), -1)
  redis.call('HINCRBY', meta, 'version', (#ARGV - 9) / 3)
  redis.call('HSET', meta, 'last', ARGV[4], 'busy', ARGV[6])
  redis.call('ZADD', prefix .. 'worlds', redis.call('TIME')[1], world)
end
if ARGV[9] == '1' then let_go(prefix, world, worker, ARGV[8]) end
done[2] = done[2] + totals.files
return done
