"""Prints lines without control characters, and stops once the reader has closed the pipe (`| head`)."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from flowcontract.output.printable import make_printable

if TYPE_CHECKING:
    from collections.abc import Iterable


class Printer:
    """Prints to standard output; `closed` once its reader has closed the pipe."""

    def __init__(self, *, quiet: bool) -> None:
        """Omit details if `quiet`."""
        self.closed = False
        self._quiet = quiet

    def print_line(self, text: str) -> None:
        """Print a line."""
        self.print_lines([text])

    def print_detail(self, text: str) -> None:
        """Print a line, unless `quiet`."""
        if not self._quiet:
            self.print_lines([text])

    def print_lines(self, texts: Iterable[str]) -> None:
        """Print lines in one write; line breaks inside of a line are escaped."""
        text_block = "".join(f"{make_printable(text)}\n" for text in texts)
        if self.closed or not text_block:
            return
        encoding = sys.stdout.encoding or "utf-8"
        try:
            sys.stdout.write(text_block.encode(encoding, "backslashreplace").decode(encoding))
            sys.stdout.flush()
        except BrokenPipeError:
            self.closed = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at exit

    def print_error(self, text: str) -> None:
        """Print why there is no verdict to standard error."""
        print(f"contract-tests: {make_printable(text)}", file=sys.stderr)  # noqa: T201 - a command's own output
