"""Worlds: the state of each API key, in memory, in a file, or in Redis; all of a change or nothing."""
