"""Published clients, unmodified, through the proxy: no violation, and the bytes that the server has sent."""

from proxied import real, server  # noqa: F401 - fixtures
from test_more_clients import *  # noqa: F403 - the same tests, with `server` from there
