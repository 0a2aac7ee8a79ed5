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
        self.interrupted = False
        self.is_over = False  # whether something was cut short by the bound
        self.is_ending = False  # whether nothing more is asked, and what there is is put down
        self.limit(minutes)
        self._stopped = threading.Event()

    def limit(self, minutes: float) -> None:
        """Give the run so many minutes from now on."""
        self.minutes = minutes
        self._deadline = time.monotonic() + minutes * 60

    def left_s(self) -> float:
        """Return the seconds until the bound; raise what ends the run where it has come."""
        if self._stopped.is_set():
            raise KeyboardInterrupt
        left = self._deadline - time.monotonic()
        if left <= 0:
            self.is_over = self.is_over or not self.is_ending
            raise OutOfTimeError
        return left

    def interrupt(self) -> None:
        """End the run now."""
        self.interrupted = True
        self._stopped.set()

    def clean_up(self) -> None:
        """Allow a little more, for what has to be done at the end."""
        self.is_ending = True
        grace_s = _HURRIED_S if self.interrupted else _CLEANING_S
        if self.interrupted or self._deadline - time.monotonic() < grace_s:
            self._deadline = time.monotonic() + grace_s
        self._stopped.clear()
