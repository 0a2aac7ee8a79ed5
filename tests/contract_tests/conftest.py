"""What all tests of the suite need."""

from __future__ import annotations

import signal

import pytest


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let Ctrl-C reach what tests start, also where a shell runs them in the background and has them ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
