"""The mock on a port of its own: in a thread of a test, or as the program that `mockserver serve` runs."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from flowcontract.specs.model import load_apis
from mockserver.admin.api import Admin
from mockserver.config.settings import Settings
from mockserver.core.app import App
from mockserver.core.mock import Mock
from mockserver.scenarios.files import ScenarioFiles
from mockserver.server.http1 import Connection
from mockserver.server.shared import Shared
from mockserver.server.transfer import ALONE
from mockserver.testing import TestingMixin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from mockserver.server.workers import Worker

_NONE: Mapping[str, str] = MappingProxyType({})
_QUEUE = 4096  # connections that wait to be accepted
_START_S = 10.0
_REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - whoever listens on all addresses is here as well


def _create_loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's event loop, or Python's own, slower one where uvloop cannot be installed (Windows)."""
    try:
        import uvloop  # noqa: PLC0415 - not on every system
    except ImportError:  # pragma: no cover
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def load_app(
    names: Sequence[str] = (),
    *,
    profiles: Mapping[str, str] = _NONE,
    fixtures: Path | None = None,
    settings: Settings | None = None,
) -> App:
    """Load the contract and scenarios of some APIs (all by default) into an application; raise FlowContractError."""
    apis = load_apis(tuple(names), profiles=profiles)
    in_force = {name: api.profile for name, api in apis.items() if api.profile}
    return App(Mock(apis, ScenarioFiles(tuple(apis), fixtures, profiles=in_force), settings or Settings()))


def create_app(
    names: Sequence[str] = (),
    *,
    profiles: Mapping[str, str] = _NONE,
    fixtures: Path | None = None,
    settings: Settings | None = None,
) -> Admin:
    """Return an application of some APIs (all by default) and `/__mock__` for an adapter; raise FlowContractError."""
    app = load_app(names, profiles=profiles, fixtures=fixtures, settings=settings)
    return Admin(app.mock, app)


class MockServer(TestingMixin):
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
        workers: int = 1,
    ) -> None:
        """Prepare a mock of some APIs (all by default); port 0 means a free one. Raise OSError if it cannot listen.

        Each of the `workers` has a socket of its own; several of them need a shared state.
        """
        self.fixtures = fixtures
        self.app = load_app(names, profiles=profiles, fixtures=fixtures, settings=settings)
        self.mock = self.app.mock
        try:
            self.sockets = _listen(host, port, workers)
        except OSError:
            self.app.close()
            raise
        self.host, self.port = host, self.sockets[0].getsockname()[1]
        self.ca_file: str | None = None  # certificates of the servers that requests are passed on to
        self._thread: threading.Thread | None = None
        self._running = threading.Event()
        self._stop: Callable[[], object] = lambda: None

    @property
    def origin(self) -> str:
        """Where this machine reaches it: `http://127.0.0.1:8080`."""
        host = _REACHED_AT.get(self.host, self.host)
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}"

    def url(self, api: str) -> str:
        """Return the base URL of an API, without a slash at its end; raise UnknownNameError if it is not served."""
        return f"{self.origin}{self.mock.get_api(api).base_path}"

    def serve(self, worker: Worker | None = None) -> None:
        """Answer requests, alone or as a worker, until `close` is called from another thread, or until Ctrl-C."""
        with asyncio.Runner(loop_factory=_create_loop) as runner:
            runner.run(self._serve(worker))

    async def _serve(self, worker: Worker | None) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        transfers = worker.transfers if worker else ALONE
        if worker:
            self.mock.backend.join(worker.place)
        admin = Admin(self.mock, self.app)
        shared = Shared(admin, ca_file=self.ca_file, transfers=transfers)
        if admin.holds:
            shared.begin_turns(admin)
        self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
        listening = worker.socket if worker else self.sockets[0]
        server = await loop.create_server(lambda: Connection(shared), sock=listening, backlog=_QUEUE)
        transfers.receive(loop, lambda data: Connection(shared, data))
        if worker:
            loop.add_reader(worker.parent, stopped.set)
        self._running.set()
        handles = threading.current_thread() is threading.main_thread() and sys.platform != "win32"
        if handles:
            for number in (signal.SIGINT, signal.SIGTERM):  # an exception in the middle of a callback ends nothing
                if signal.getsignal(number) is not signal.SIG_IGN:  # as in workers, and in what a script started with &
                    loop.add_signal_handler(number, stopped.set)
        try:
            while not stopped.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopped.wait(), 1)
                shared.tick()
        finally:
            server.close()
            shared.close()
            await asyncio.sleep(0)
            if handles:  # whoever does not want to wait for what still runs in threads types it again
                loop.remove_signal_handler(signal.SIGINT)

    def close(self) -> None:
        """Stop answering and free the port."""
        if self._thread is not None:
            self._stop()
            self._thread.join()
        for listening in self.sockets:
            listening.close()
        self.app.close()

    def __enter__(self) -> Self:
        """Answer in a thread."""
        self._thread = threading.Thread(target=self.serve, name="mockserver", daemon=True)
        self._thread.start()
        self._running.wait(_START_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.close()


def _listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Return `count` sockets that listen on the same port; raise OSError."""
    alone = _bind(host, port, shared=False)  # fails if other processes already share this port
    if count == 1:
        return [alone]
    port = alone.getsockname()[1]
    alone.close()
    return [_bind(host, port, shared=True) for _ in range(count)]


def _bind(host: str, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if shared else socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_QUEUE)
    except OSError:
        listening.close()
        raise
    return listening
