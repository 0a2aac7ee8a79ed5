"""What is wrong with a command line that pytest reads, told as other commands of ours tell it: in a line, no usage."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pytest

from flowcontract.errors import ConfigError
from flowcontract.output.command_line import refuse_unknown

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator

_BEFORE = "error: "  # between the usage that pytest prints and what is wrong


class Misuse:
    """A plugin that refuses unknown options, and wrong values of pytest's own, with a ConfigError."""

    def __init__(self, command: argparse.ArgumentParser) -> None:
        """Refuse for a command, whose options are suggested."""
        self.command = command

    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests(self, parser: pytest.Parser, args: list[str]) -> None:
        """Refuse the first option that neither we nor pytest and its plugins know, which are all loaded by now."""
        _, others = parser.parse_known_and_unknown_args(args)
        for other in others:
            if other.startswith("-"):
                raise refuse_unknown(self.command, other.partition("=")[0])

    @pytest.hookimpl(wrapper=True)
    def pytest_cmdline_parse(self) -> Generator[None, pytest.Config | None, pytest.Config | None]:
        """Tell whatever else is wrong."""
        try:
            return (yield)
        except pytest.UsageError as error:
            _refuse(str(error))
        except ImportError as error:  # what pytest 8 raises for a plugin that is not there
            if not str(error).startswith("Error importing plugin"):
                raise
            _refuse(str(error))


def _refuse(said: str) -> NoReturn:
    lines = said.strip().splitlines()
    found = next((line.partition(_BEFORE)[2] for line in lines if _BEFORE in line), said.strip())
    raise ConfigError(found) from None
