"""A client driven through everything that can go wrong with a stream, and the verdicts."""
