"""`--to API=URL`: which server each API's requests go to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flowcontract.errors import FlowContractError, UnknownNameError
from mockserver.http.forwarding import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowcontract.specs.model import Api

_PORTS = {"http": 80, "https": 443}


class ServerError(FlowContractError):
    """Where requests go cannot be read, or two APIs of the same paths would go to different servers."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that implements an API.

    ``base_path``  where the API is there, without a slash at its end; it takes the place of the contract's
    """

    api: str
    origin: Origin
    base_path: str

    @property
    def url(self) -> str:
        """The base URL, as it was given."""
        return f"{self.origin}{self.base_path}"

    @property
    def host(self) -> str:
        """The value of `Host`."""
        return str(self.origin).partition("://")[2]


def parse_server(api: str, url: str) -> Server:
    """Read a base URL such as `https://api.example.com/v1`; raise ServerError."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise ServerError(f'"{url}" is no URL: {error}.') from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ServerError(f'"{url}" is no server. Name one as {api}=https://api.example.com/v1.')
    if parts.username is not None or parts.query or parts.fragment:
        raise ServerError(f'"{parts.hostname}" stands in a URL with a user, a query or a fragment. Leave these out.')
    return Server(api, Origin(parts.hostname, port, parts.scheme == "https"), parts.path.rstrip("/"))


def check_servers(servers: Mapping[str, Server], apis: Mapping[str, Api]) -> None:
    """Raise where an API is none, or where a path would lead to two servers: a key must only go to its own."""
    for name in servers:
        if name not in apis:
            raise UnknownNameError("API", name, apis)
    for name, server in servers.items():
        for other, another in servers.items():
            same_path = apis[name].base_path == apis[other].base_path
            if name < other and same_path and (server.origin, server.base_path) != (another.origin, another.base_path):
                raise ServerError(
                    f"{name} and {other} have the same paths ({apis[name].base_path}), but go to {server.url} and "
                    f"{another.url}: a key could reach the wrong one. Start a proxy for each."
                )
