-- Lets go of a world that this worker holds. ARGV: prefix, world, worker, lease in ms.
let_go(ARGV[1], ARGV[2], ARGV[3], ARGV[4])
