-- Lets a world begin anew. KEYS: none. ARGV: prefix, world.
return forget(ARGV[1], ARGV[2])
