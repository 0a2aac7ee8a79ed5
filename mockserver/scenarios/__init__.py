"""Which scenario answers a request, and the bytes and events that it sends."""
