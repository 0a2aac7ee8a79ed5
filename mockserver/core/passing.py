"""What a mock asks whatever passes requests on to the servers that it stands before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mockserver import faults
    from mockserver.core.choosing import Selection, Visit
    from mockserver.core.validation import Validated
    from mockserver.http.messages import Reply, Request
    from mockserver.journal.entry import Entry
    from mockserver.request.preferences import ScenarioPreference


@dataclass(frozen=True, slots=True)
class Passed:
    """A request that is to be passed on.

    ``validated``  what is known of it; None where its body has not come yet
    ``faults``     that are to change the answer
    ``preference`` that asked for these
    ``known``      whether it leads to an operation of the contract
    """

    visit: Visit
    entry: Entry
    validated: Validated | None = None
    faults: tuple[faults.Chosen, ...] = ()
    preference: ScenarioPreference | None = None
    known: bool = True


class Recording(Protocol):
    """Records what the mock answers itself. May be called from several threads."""

    def record(self, request: Request, entry: Entry, reply: Reply) -> None:
        """Record an exchange; `reply` has another stream then, which is recorded while it is sent."""


class Passing(Protocol):
    """Passes requests on. May be called from several threads."""

    @property
    def enforces(self) -> bool:
        """Whether what the contract forbids is refused instead."""

    def covers(self, path: str) -> bool:
        """Tell whether a path is under the base path of an API whose requests are passed on."""

    def admit(self, request: Request) -> Request:
        """Return a request with keys that open the mock in place of those that open another server."""

    def wants_body_later(self, head: Request) -> bool:
        """Tell whether nothing looks at the body of a request before it is passed on."""

    def keeps(self, chosen: Selection) -> bool:
        """Tell whether the mock answers itself: it was asked to, a scenario of the user's own fits, or it refuses."""

    def note_kept(self, entry: Entry) -> None:
        """Hear of a request that the mock answers itself, and what of it the contract forbids."""

    def forward(self, passed: Passed) -> Reply:
        """Return a reply that says where the request goes."""
