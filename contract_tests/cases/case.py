"""What a case is: a request, and what may be answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from contract_tests.cases.examples import wants_stream
from contract_tests.judging.expectations import Expected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from contract_tests.http.exchange import Request
    from flowcontract.specs.model import Operation


@dataclass(frozen=True, slots=True)
class Case:
    """A request and what may be answered.

    ``family``     what sort of case: documented, generated, invalid, keys, unread, unknown, undocumented ...
    ``name``       identifies it within its family
    ``operation``  judges the answer; the request may go to another method or path
    ``keep``       JSON pointers into `body`, and `path/NAME`, `query/NAME`: what is tested, and must not be filled in
    ``auth``       which key is sent: own, none, `wrong:SCHEME`, `only:SCHEME` or `other:API`
    ``provoke``    error code, or `event:KIND`, that the target must be provoked into
    ``holds``      JSON pointer -> the value that an answer must have there, as in `probes.yaml`
    ``form``       the bound of the app's own controls that is broken, as in `probes.yaml`
    """

    family: str
    name: str
    operation: Operation
    request: Request
    expected: Expected
    keep: frozenset[str] = frozenset()
    auth: str = "own"
    provoke: str = ""
    holds: Mapping[str, Any] = field(default_factory=dict)
    form: str = ""

    @property
    def id(self) -> str:
        """The full name: `dify-chat/sendChatMessage/invalid/query required`."""
        return f"{self.operation.name}/{self.family}/{self.name}"


def expect_success(
    operation: Operation, request: Request, source: tuple[str, ...], why: str = "the request is documented"
) -> Expected:
    """Expect one of the statuses of success, and the stream where the request asks for it."""
    statuses = frozenset(status for status in operation.responses if status < 300)  # noqa: PLR2004 - HTTP's own range
    return Expected(why, statuses=statuses, refused=False, streamed=wants_stream(operation, request), source=source)
