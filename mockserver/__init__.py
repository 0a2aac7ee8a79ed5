"""A mock server that answers as documented: `from mockserver import MockServer, Settings, create_app`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mockserver.config.settings import Settings
    from mockserver.server.asgi import AsgiAdapter
    from mockserver.server.mock_server import MockServer, create_app
    from mockserver.server.wsgi import WsgiAdapter

DISTRIBUTION = "flowcontract"
"""Whose `mockserver` this is: there are others, and `flowcontract_launch` tells which is found."""
__all__ = ["AsgiAdapter", "MockServer", "Settings", "WsgiAdapter", "create_app"]
_HOMES = {
    "AsgiAdapter": "mockserver.server.asgi",
    "MockServer": "mockserver.server.mock_server",
    "Settings": "mockserver.config.settings",
    "WsgiAdapter": "mockserver.server.wsgi",
    "create_app": "mockserver.server.mock_server",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, and only then: `mockserver --help` needs none of it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - as above

    return getattr(import_module(_HOMES[name]), name)
