"""How a program ends: a mistake of its user and Ctrl-C are a line each. It imports little: Ctrl-C may come soon."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MISUSE = 2


class Interruption(KeyboardInterrupt):
    """Ctrl-C. Python forgets a program's exit status where KeyboardInterrupt itself passed through an `exec`."""


def interrupt(*_: object) -> NoReturn:
    """Handle the signal of Ctrl-C."""
    raise Interruption


def run_program(name: str, run: Callable[[], int]) -> int:
    """Run a program; return its exit status: 2 after a mistake or Ctrl-C, which are reported in one line.

    ``run``  also imports what takes a while
    """
    try:
        with _handle_interrupts():
            return _run(name, run)
    except KeyboardInterrupt:
        print(f"{name}: interrupted.", file=sys.stderr)  # noqa: T201 - it is for the user
    return _MISUSE


def _run(name: str, run: Callable[[], int]) -> int:
    from flowcontract.errors import FlowContractError  # noqa: PLC0415 - Ctrl-C may come meanwhile
    from flowcontract.output.printable import make_printable  # noqa: PLC0415 - the same

    try:
        return run()
    except FlowContractError as error:
        problem = "\n".join([str(error), *getattr(error, "__notes__", ())])
        print(f"{name}: {make_printable(problem, lines=True)}", file=sys.stderr)  # noqa: T201 - it is for the user
        return _MISUSE
    except BrokenPipeError:  # whoever closes the pipe early has read enough: `mockserver list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


@contextmanager
def _handle_interrupts() -> Iterator[None]:
    """Handle Ctrl-C where nobody else does; in other threads than the main one nobody can."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        if ours:
            signal.signal(signal.SIGINT, interrupt)
    except ValueError:
        ours = False
    try:
        yield
    finally:
        if ours and signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)
