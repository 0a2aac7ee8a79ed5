"""Bytes that may be large: in memory while small, then in a temporary file."""
