"""`mockserver proxy`: stand before real servers, judge both sides, record; exit 1 where something was wrong."""

from __future__ import annotations

import contextlib
import shlex
import signal
import socket
import sys
from typing import TYPE_CHECKING

from flowcontract.errors import ConfigError
from flowcontract.output.program import interrupt
from mockserver.cli.server import open_server, show_requests, spare_collections, warn_of_strangers
from mockserver.cli.terminal import OK, PROBLEMS, say
from mockserver.config.settings import Settings
from mockserver.proxy.passing import Passing, make_masking, map_servers
from mockserver.proxy.recording import HAR_NAME, Recorder
from mockserver.proxy.rewriting import Rewriting
from mockserver.proxy.servers import parse_server

if TYPE_CHECKING:
    import argparse

    from mockserver.proxy.servers import Server
    from mockserver.server.mock_server import MockServer

_LOOK_S = 1.0
_LARGE = 32 << 20  # bytes of a recording


def proxy(options: argparse.Namespace) -> int:
    """Pass requests on until Ctrl-C, showing each; return 1 if one side broke the contract."""
    if not options.to:
        raise ConfigError("say where requests go: --to dify-chat=https://api.example.com/v1.")
    if options.fixtures is not None and not options.fixtures.is_dir():
        raise ConfigError(f"there is no folder {options.fixtures}. Name a folder with scenarios of your own.")
    if options.ca_file is not None and not options.ca_file.is_file():
        raise ConfigError(f"there is no file {options.ca_file}. Name one with certificates in PEM.")
    servers = {api: parse_server(api, url) for api, url in options.to}
    settings = Settings(
        seed=options.seed,
        max_upload=options.max_upload_mb << 20,
        journal=options.journal,
        admin_token=options.admin_token,
    )
    server = open_server(options, settings, list(servers))
    try:
        return _run(server, servers, options)
    finally:
        server.close()


def _run(server: MockServer, servers: dict[str, Server], options: argparse.Namespace) -> int:
    passing = Passing(server.mock, servers, options.enforce, options.fixtures, options.timeout)
    server.ca_file = None if options.ca_file is None else str(options.ca_file)
    if options.record is not None:
        limit = options.max_recording_mb << 20
        rewriting = Rewriting(options.redact, words=options.words)
        urls = map_servers(servers)
        passing.recorder = Recorder(
            options.record, make_masking(server.mock.apis), urls, limit=limit, rewriting=rewriting
        )
    server.mock.passing = passing
    _listen_for_end()  # until the server is there to be stopped
    log = show_requests(server, options)
    with contextlib.suppress(KeyboardInterrupt):
        for line in _build_greeting(server, passing):
            say(line)
        sys.stdout.flush()
        spare_collections()
        server.serve()
    _listen_for_end()  # the loop took both signals back
    if log is not None:
        log.close()
    if passing.recorder is not None:
        _end_recording(passing.recorder)
    for line in passing.summary.render_lines():
        say(line)
    sys.stdout.flush()
    return OK if passing.summary.clean else PROBLEMS


def _listen_for_end() -> None:
    """Let SIGTERM, and Ctrl-C unless it is ignored, raise KeyboardInterrupt."""
    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)


def _end_recording(recorder: Recorder) -> None:
    """Write the HAR file, unless somebody does not want to wait for it, and say where the recording is."""
    if recorder.path.stat().st_size > _LARGE:
        say(f"Writing {HAR_NAME}, which takes a while; Ctrl-C leaves it out ...")
        sys.stdout.flush()
    try:
        recorder.close()
    except KeyboardInterrupt:
        folder, har = (shlex.quote(str(path)) for path in (recorder.folder, recorder.folder / HAR_NAME))
        say(f"Recorded in {recorder.path}. Interrupted before {HAR_NAME} was whole. It can be made later:")
        say(f"  mockserver import {folder} --har {har}")
    else:
        say(f"Recorded in {recorder.path} and {HAR_NAME} beside it.")


def _build_greeting(server: MockServer, passing: Passing) -> list[str]:
    """Return what is printed on start: per API where requests come and where they go."""
    lines = warn_of_strangers(server, "proxy")
    for api, target in passing.servers.items():
        lines.append(f"{api}  {server.url(api)} -> {target.url}")
        if why_not := _try(target):
            lines.append(f"  {target.url} cannot be reached: {why_not}. Requests get a 502 until it can.")
        base = server.mock.apis[api].base_path
        if base and not target.base_path:
            lines.append(f"  If {api} is under {base} there, as documented, say --to {api}={target.url}{base}.")
    if passing.recorder is not None:
        lines.append(f"Recording in {passing.recorder.path}.")
    lines.append(f"{server.origin}/__mock__/requests tells what passed, and what of it the contract forbids.")
    return [*lines, "Ctrl-C stops it, and prints what was wrong."]


def _try(target: Server) -> str:
    """Return why a server cannot be reached now, '' if it can."""
    try:
        socket.create_connection((target.origin.host, target.origin.port), timeout=_LOOK_S).close()
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ""
