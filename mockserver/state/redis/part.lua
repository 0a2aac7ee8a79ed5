-- Returns a part of a file's bytes, and keeps those of a deleted file as long as they are read. KEYS: the file.
if redis.call('TTL', KEYS[1]) > 0 then redis.call('EXPIRE', KEYS[1], 60) end
return redis.call('HGET', KEYS[1], ARGV[1])
