"""What adapters serve: anything that answers requests and limits the size of their bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockserver.http.messages import Reply, Request


class WorldAwaitedError(Exception):
    """Another worker still holds the world that a request needs. Nothing has happened; ask again when it lets go.

    ``world``  its name
    ``place``  the number of the worker among those of this program, which the request may go to instead; None where it
               may not: then that worker was asked to let go
    """

    def __init__(self, world: str, place: int | None = None) -> None:
        super().__init__(f"another worker holds {world}")
        self.world, self.place = world, place


class HeldReply(Protocol):
    """A request whose answer may not be sent yet.

    ``awaited``  the world that another worker still holds; None once the request has been answered, and what it has
                 done waits for `Application.flush`
    ``place``    the worker, by its number, that may answer instead; None where none may
    """

    awaited: str | None
    place: int | None

    def ask_again(self) -> None:
        """Ask for the answer again, of one that awaits a world; the worker that holds it is asked to let go."""

    def settle(self) -> Reply:
        """Return the answer after a `flush`; raise what `handle` raises."""


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


class HoldingApplication(Application, Protocol):
    """An application that stores what several requests have changed at once, and may share it with other workers."""

    @property
    def holds(self) -> bool:
        """Whether anything has to be stored; else `handle` does all that is needed."""

    def hold(self, request: Request, now: float) -> Reply | HeldReply:
        """Answer a request as `handle` does, but without waiting for what has to be stored, nor for other workers.

        What is a Reply may be sent at once; a HeldReply is settled after the next `flush`.
        """

    def flush(self) -> None:
        """Store the effects of all that is held."""

    def on_free(self, call: Callable[[str], None]) -> None:
        """Call, in any thread, with the name of a world that was awaited when it is free."""
