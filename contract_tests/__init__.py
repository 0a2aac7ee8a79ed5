"""Tells of any implementation whether it answers as documented."""
