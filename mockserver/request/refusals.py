"""What is wrong with a request -> the word for it in the contract's `x-problems` -> the scenario that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowcontract.errors import SpecError
from flowcontract.validation import pydantic_words
from flowcontract.validation.request import UPLOAD

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from flowcontract.scenarios.expressions import RequestView
    from flowcontract.validation.request import CheckedRequest, RequestViolation

NEEDED = (
    "no-key",
    "wrong-key",
    "unknown-path",
    "wrong-method",
    "wrong-media-type",
    "malformed-body",
    "invalid-request",
    "unknown-id",
    "too-large",
)
"""The words that every API has a scenario for. A contract may know finer ones, which are then preferred."""
_INSTEAD = ("malformed-body", "invalid-request")
"""What an operation says that documents nothing for a word, for instance a JSON body that is too large."""

_TOLD = 1000  # characters of what a client sent that are said again


class Refusal(Exception):  # noqa: N818 - what the mock does, not what went wrong in it
    """A request is answered with the scenario of a problem.

    ``words``      what is wrong, the most particular word first
    ``violation``  what `$violation.NAME` offers to the scenario: field, message, rule, location, and as entries
    """

    def __init__(  # noqa: PLR0913 - what a refusal says, each by name
        self,
        word: str,
        message: str,
        *,
        field: str = "",
        location: str = "body",
        finer: Sequence[str] = (),
        entry: Mapping[str, Any] | None = None,
    ) -> None:
        """Refuse by `word`, or by one of the `finer` words if the contract knows it; `entry`: as Pydantic says it."""
        super().__init__(message)
        self.words = (*finer, word)
        entry = entry or pydantic_words.entry_of("value_error", (location, field), message[:_TOLD])
        self.violation: Mapping[str, Any] = {
            "field": field[:_TOLD],
            "message": message[:_TOLD],
            "rule": word,
            "location": location,
            **pydantic_words.told([entry]),
        }

    def alone(self) -> Refusal:
        """Return it without its traceback, which would hold the request and its files until the next collection."""
        self.__traceback__ = self.__context__ = None
        return self

    @classmethod
    def by(cls, checked: CheckedRequest, sent: RequestView) -> Refusal:
        """Refuse because of what validation found: the first violation says by what, entries tell of all."""
        found = checked.violations[0]
        refusal = cls("invalid-request", found.message, finer=tuple(_finer(found)))
        entries = [entry for each in checked.violations for entry in pydantic_words.entries(each, sent)]
        refusal.violation = {**found.as_mapping(), **pydantic_words.told(entries)}
        return refusal


def _finer(found: RequestViolation) -> Iterator[str]:
    """Yield the particular words, for instance `missing-user`, `missing-parameter`, `invalid-user`.

    `not-a-file` is text where a file belongs, `no-object` a body that is no object, `wrong-type-FIELD` a value of
    another type, or with one in it.
    """
    field = found.field.replace("_", "-")
    if found.violation.expected == UPLOAD:
        yield "not-a-file"
    if found.violation.rule == "type" and found.location == "body":
        yield f"wrong-type-{field.partition('.')[0]}" if field else "no-object"
    if found.violation.rule == "required":
        yield from [f"missing-{field}"] if field else ["missing-body", "malformed-body"]
        yield "missing-parameter"
    if found.violation.rule.startswith("content"):
        yield "invalid-json-text"
    yield f"invalid-{field}"


def scenario_key(problems: Mapping[str, str], words: Sequence[str], known: Collection[str], *, api: str) -> str:
    """Return the scenario of the first word that `x-problems` has, `<status>-<name>`; raise SpecError without one."""
    for word in (*words, *_INSTEAD):
        if problems.get(word) in known:
            return problems[word]
    raise SpecError(
        f"specs/{api}/openapi.yaml: x-problems maps none of {', '.join(words)} to a scenario. Map one of them."
    )
