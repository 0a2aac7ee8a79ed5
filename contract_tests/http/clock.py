"""Ends a run: at its time limit, or at once when the user interrupts it."""

from __future__ import annotations

import math
import threading
import time

_CLEANING_S = 10.0  # for removing what the suite created, after a run that reached its limit
_HURRIED_S = 0.8  # the same after Ctrl-C, which is to end a run within two seconds


class OutOfTimeError(KeyboardInterrupt):
    """The run has reached its time limit.

    A KeyboardInterrupt, because Schemathesis turns every Exception into a finding and would go on.
    """


class Clock:
    """The time limit of a run. All methods may be called from any thread."""

    def __init__(self, minutes: float = math.inf) -> None:
        """Start now."""
        self.interrupted = False
        self.is_over = False  # whether the limit ended something
        self.is_ending = False  # whether the run is only cleaning up and writing reports
        self.limit(minutes)
        self._stopped = threading.Event()

    def limit(self, minutes: float) -> None:
        """Set the limit to this many minutes from now."""
        self.minutes = minutes
        self._deadline = time.monotonic() + minutes * 60

    def get_left_s(self) -> float:
        """Return the seconds left; raise KeyboardInterrupt after an interrupt, OutOfTimeError after the limit."""
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
        """Allow a little more time for cleaning up."""
        self.is_ending = True
        grace_s = _HURRIED_S if self.interrupted else _CLEANING_S
        if self.interrupted or self._deadline - time.monotonic() < grace_s:
            self._deadline = time.monotonic() + grace_s
        self._stopped.clear()
