"""The mock on a port of its own: in a thread of a test, or as the program that `mockserver serve` runs."""

from __future__ import annotations

import socket
import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from flowcontract.scenarios import load_scenarios
from flowcontract.specs import load_apis
from mockserver.app import App
from mockserver.settings import Settings
from mockserver.wsgi import WsgiAdapter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

_NONE: Mapping[str, str] = MappingProxyType({})
_PATIENCE_S = 60.0


class _Handler(WSGIRequestHandler):
    """Speaks HTTP/1.1 with chunks, sends small pieces at once, and never answers with HTML."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # what is written together leaves together; the server flushes after each piece
    timeout = _PATIENCE_S  # of a client that neither sends nor reads
    error_content_type = "application/problem+json"
    error_message_format = '{"type": "about:blank", "title": "%(message)s", "status": %(code)d}\n'

    def run_wsgi(self) -> None:
        """Answer, unless the request's target cannot even be taken apart."""
        if (
            "[" in self.path.partition("?")[0] or "]" in self.path.partition("?")[0]
        ):  # urlsplit takes them for an IPv6 address
            self.path = self.path.replace("[", "%5B").replace("]", "%5D")
        super().run_wsgi()

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - Werkzeug's name
        """Say nothing: `mockserver serve` prints what matters."""


class _Server(ThreadedWSGIServer):
    """Accepts many streams at once and forgets them when it closes."""

    request_queue_size = 1024
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a client leaves in the middle."""


def load_app(
    names: Sequence[str] = (),
    *,
    profiles: Mapping[str, str] = _NONE,
    fixtures: Path | None = None,
    settings: Settings | None = None,
) -> App:
    """Read contract and scenarios of some APIs (all by default) into an application; raise FlowContractError."""
    apis = load_apis(tuple(names), profiles=profiles)
    return App(apis, load_scenarios(tuple(apis), fixtures), settings or Settings())


class MockServer:
    """A running mock.

    >>> with MockServer(["dify-chat"], settings=Settings(pace=0)) as mock:  # doctest: +SKIP
    ...     requests.post(mock.url("dify-chat") + "/chat-messages", headers=..., json=...)
    """

    def __init__(  # noqa: PLR0913 - the options of `mockserver serve`
        self,
        names: Sequence[str] = (),
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        profiles: Mapping[str, str] = _NONE,
        fixtures: Path | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Prepare a mock of some APIs (all by default); port 0 is a free one. Raise OSError where it cannot listen."""
        self.app = load_app(names, profiles=profiles, fixtures=fixtures, settings=settings)
        self._socket = _listen(host, port)
        self.host, self.port = host, self._socket.getsockname()[1]
        self._server = _Server(host, self.port, WsgiAdapter(self.app), handler=_Handler, fd=self._socket.fileno())
        self._thread: threading.Thread | None = None

    def url(self, api: str) -> str:
        """Return the base URL of an API, without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{self.app.apis[api].base_path}"

    def key(self, api: str, suffix: str = "") -> str:
        """Return a key that opens an API; each `suffix` (`-a`) has a world of its own."""
        return next(iter(self.app.apis[api].schemes.values())).mock_key + suffix

    def headers(self, api: str, suffix: str = "") -> dict[str, str]:
        """Return the headers that authenticate a request to an API."""
        operation = next(iter(self.app.apis[api].operations.values()))
        schemes = [self.app.apis[api].schemes[name] for name in operation.security[0]]
        return {scheme.parameter: f"{scheme.prefix}{scheme.mock_key}{suffix}" for scheme in schemes}

    def serve(self) -> None:
        """Answer requests until `close` is called from another thread, or until Ctrl-C."""
        self._server.serve_forever(poll_interval=0.1)

    def close(self) -> None:
        """Stop answering and free the port."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._socket.close()

    def __enter__(self) -> Self:
        """Answer in a thread."""
        self._thread = threading.Thread(target=self.serve, name="mockserver", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.close()


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; Werkzeug would end the whole process where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_Server.request_queue_size)
    except OSError:
        listening.close()
        raise
    return listening
