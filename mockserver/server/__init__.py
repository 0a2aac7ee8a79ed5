"""Adapters (our own HTTP/1.1, WSGI, ASGI) and the processes that serve."""
