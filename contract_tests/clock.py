"""When a run has to end: at its bound, or at once, because somebody interrupts it."""

from __future__ import annotations

import math
import threading
import time

_CLEANING_S = 10.0  # for removing what the suite made, after a run that met its bound
_HURRIED_S = 0.8  # the same after Ctrl-C, which is to end a run within two seconds


class OutOfTimeError(KeyboardInterrupt):
    """The run has met its bound.

    A KeyboardInterrupt, so that it ends whatever is asked just now: libraries turn every Exception into a finding.
    """


class Clock:
    """The time that a run has. It may be asked, and told to stop, from any thread."""

    def __init__(self, minutes: float = math.inf) -> None:
        """Begin now."""
        self.minutes = minutes
        self.interrupted = False
        self._deadline = time.monotonic() + minutes * 60
        self._stopped = threading.Event()

    @property
    def is_over(self) -> bool:
        """Whether the run has met its bound."""
        return time.monotonic() >= self._deadline

    def left_s(self) -> float:
        """Return the seconds until the bound; raise what ends the run where it has come."""
        if self._stopped.is_set():
            raise KeyboardInterrupt
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise OutOfTimeError
        return left

    def interrupt(self) -> None:
        """End the run now."""
        self.interrupted = True
        self._stopped.set()

    def clean_up(self) -> None:
        """Allow a little more, for what has to be done at the end."""
        grace_s = _HURRIED_S if self.interrupted else _CLEANING_S
        if self.interrupted or self._deadline - time.monotonic() < grace_s:
            self._deadline = time.monotonic() + grace_s
        self._stopped.clear()
