"""What `serve`, `proxy` and `torture` have in common: a server on the address that was asked for, and what it shows."""

from __future__ import annotations

import gc
import re
import sys
from typing import TYPE_CHECKING

from flowcontract.errors import ConfigError
from mockserver.journal.request_log import RequestLog
from mockserver.server.mock_server import MockServer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from mockserver.config.settings import Settings


def open_server(
    options: argparse.Namespace, settings: Settings, names: Sequence[str] = (), *, workers: int = 1
) -> MockServer:
    """Return a server that listens where the options say; raise ConfigError where it cannot."""
    try:
        return MockServer(
            names,
            host=options.host,
            port=options.port,
            profiles=dict(options.profile),
            fixtures=options.fixtures,
            settings=settings,
            workers=workers,
        )
    except OSError as error:
        where = f"{options.host}:{options.port}"
        raise ConfigError(
            f"cannot listen on {where}: {error.strerror}. Choose another with --port or --host."
        ) from None


def warn_of_strangers(server: MockServer, what: str) -> list[str]:
    """Return a line that says who can use the mock or the proxy, where that is not this machine alone."""
    if server.host in ("127.0.0.1", "::1", "localhost"):
        return []
    return [f"Warning: listening on {server.host}; everyone who reaches this machine can use the {what}."]


def show_requests(server: MockServer, options: argparse.Namespace, *, workers: int = 1) -> RequestLog | None:
    """Let requests be shown as they are answered; return what has to be closed, None where nothing is shown."""
    if options.quiet or sys.stdout is None:
        return None
    paths = [api.base_path + each.path for api in server.mock.apis.values() for each in api.operations.values()]
    plain = [re.sub(r"\{[^{}]*\}", "*", path) for path in paths]
    log = RequestLog(sys.stdout, options.log_format, plain_paths=plain, alone=workers == 1)
    server.mock.journal.listener = log
    return log


def spare_collections() -> None:
    """Let garbage be collected seldom: what was read until here stays, and nearly all that a request makes goes."""
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)  # a tenth of the time went there
