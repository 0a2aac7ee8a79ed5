"""The server under test: its address, keys and values, from options and a target file."""
