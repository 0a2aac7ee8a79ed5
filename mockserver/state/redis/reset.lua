-- Lets a world begin anew that this worker holds, and lets go of it. ARGV: prefix, world, worker, lease in ms.
local found = forget(ARGV[1], ARGV[2])
let_go(ARGV[1], ARGV[2], ARGV[3], ARGV[4])
return found
