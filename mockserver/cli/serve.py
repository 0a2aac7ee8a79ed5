"""`mockserver serve`: answer over HTTP until somebody stops it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from flowcontract.errors import ConfigError
from flowcontract.specs.examples import choose_typical_request
from mockserver.cli.server import open_server, show_requests, spare_collections, warn_of_strangers
from mockserver.cli.terminal import OK, complain, say
from mockserver.config.settings import Settings
from mockserver.server.workers import Workers
from mockserver.state.backends import is_address
from mockserver.state.quotas import Limits

if TYPE_CHECKING:
    import argparse

    from mockserver.server.mock_server import MockServer


def serve(options: argparse.Namespace) -> int:
    """Answer until Ctrl-C, showing each request."""
    if options.fixtures is not None and not options.fixtures.is_dir():
        raise ConfigError(
            f"there is no folder {options.fixtures}. Name a folder with <api>/<operationId>/<status>-<name>.yaml."
        )
    if options.workers > 1 and (refused := _explain_no_workers(options)):
        raise ConfigError(refused)
    settings = Settings(
        pace=options.pace,
        seed=options.seed,
        clock=options.clock,
        state=options.state,
        max_upload=options.max_upload_mb << 20,
        flows=tuple(options.flow),
        journal=options.journal,
        admin_token=options.admin_token,
        app=options.app,
        answers=options.answers,
        ui=not options.no_ui,
        limits=Limits(
            worlds=options.max_worlds,
            records=options.max_records,
            state=options.max_state_mb << 20,
            uploads=options.max_stored_mb << 20,
        ),
    )
    server = open_server(options, settings, options.api, workers=options.workers)
    log = show_requests(server, options, workers=options.workers)
    try:
        for line in _build_greeting(server):
            say(line)
        sys.stdout.flush()
        spare_collections()
        _answer(server, options.workers)
    except KeyboardInterrupt:  # before the loop has taken it over
        pass
    finally:
        server.close()
        if log is not None:
            log.close()
    return OK


def _answer(server: MockServer, count: int) -> None:
    """Answer in this process, or in so many others that it watches over."""
    if count == 1:
        server.serve()
        return
    workers = Workers(server.sockets, bury=server.mock.backend.bury, say=complain)
    worker = workers.run()
    if worker is not None:
        server.serve(worker)


def _explain_no_workers(options: argparse.Namespace) -> str:
    """Return why there cannot be several workers, '' if there can."""
    if not hasattr(os, "fork"):
        return f"--workers {options.workers} needs a system that can fork. Start several mocks on ports of their own."
    if not is_address(options.state):
        return f"--workers {options.workers} needs worlds that they share. Add --state redis://HOST:PORT/DB."
    return ""


def _build_greeting(server: MockServer) -> list[str]:
    """Return what is printed on start: per API its base URL, its key, and a command that works when pasted."""
    lines = warn_of_strangers(server, "mock")
    for api in server.mock.apis:
        keys = ", ".join(f"{name}: {value}" for name, value in server.headers(api).items())
        lines += [
            f"{api}",
            f"  base URL  {server.url(api)}",
            f"  key       {keys}",
            f"  try       {_build_curl(server, api)}",
        ]
    page = "" if server.mock.settings.ui else "__mock__/requests"
    lines.append(f"{server.origin}/{page} shows what was asked, and what of it the contract forbids.")
    return [*lines, "Ctrl-C stops it. `mockserver list` prints what can be asked for with the Prefer header."]


def _build_curl(server: MockServer, api: str) -> str:
    """Return a curl command for the first documented request that needs nothing but this line."""
    return choose_typical_request(server.mock.apis[api]).to_curl(server.url(api), server.headers(api))
