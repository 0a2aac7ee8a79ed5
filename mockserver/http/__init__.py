"""Requests and replies as adapters give and take them; no sockets."""
