"""`mockserver mcp`: answers an assistant over standard input and output, until they are closed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from flowcontract.errors import ConfigError
from flowcontract.specs.model import load_apis
from mockserver.assistant.running import RunningMock
from mockserver.assistant.tools import Tools
from mockserver.cli.terminal import OK

if TYPE_CHECKING:
    import argparse


def serve_tools(options: argparse.Namespace) -> int:
    """Offer the tools; raise ConfigError where their library is not there."""
    if options.fixtures is not None and not options.fixtures.is_dir():
        raise ConfigError(f"there is no folder {options.fixtures}. Name a folder with scenarios of your own.")
    try:
        from mockserver.assistant.server import build_server  # noqa: PLC0415 - needs a library that only this command needs
    except ImportError as error:
        if not (error.name or "").startswith("mcp"):
            raise
        raise ConfigError("mcp needs a library. In the checkout: pip install '.[mcp]'.") from None
    mock = RunningMock(options.mock, options.admin_token)
    apis = load_apis(tuple(options.api), profiles=dict(options.profile))
    tools = Tools(apis, mock, fixtures=options.fixtures, token=options.admin_token)
    with contextlib.suppress(KeyboardInterrupt):  # which has done what it was asked for
        build_server(tools, changes=options.allow_changes).run("stdio")
    return OK
