"""What an adapter serves: something that answers requests, and says how much of a body it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mockserver.http.messages import Reply, Request


class Application(Protocol):
    """Answers requests; neither waits nor sends. May be asked from several threads."""

    @property
    def max_upload(self) -> int:
        """How many bytes of a body it takes; a longer one is not kept."""

    @property
    def fixed_clock(self) -> float | None:
        """The epoch seconds at which its time stands still, None where it goes on."""

    def handle(self, request: Request, now: float) -> Reply:
        """Answer a request at `now`, in epoch seconds; raise StateError where what has to be kept cannot be."""
