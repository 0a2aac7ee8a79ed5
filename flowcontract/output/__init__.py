"""Prepares output: secrets masked, control characters escaped, requests as `curl` commands."""
