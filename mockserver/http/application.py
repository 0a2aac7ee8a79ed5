"""What adapters serve: anything that answers requests and limits the size of their bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mockserver.http.messages import Reply, Request


class Application(Protocol):
    """Answers requests without waiting or sending. May be called from several threads."""

    @property
    def max_upload(self) -> int:
        """How many bytes a body may have; a longer one is dropped."""

    @property
    def fixed_clock(self) -> float | None:
        """The epoch seconds at which its clock is frozen, None if it runs."""

    def wants_body_later(self, head: Request) -> bool:
        """Tell of a request's head whether to handle it now, with `incoming` in place of the body."""

    def handle(self, request: Request, now: float) -> Reply:
        """Answer a request at `now`, in epoch seconds; raise StateError if its effects cannot be stored."""
