"""What is wrong with a request -> the word for it in the contract's `x-problems` -> the scenario that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcontract.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flowcontract.validation import RequestViolation

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


class Refusal(Exception):  # noqa: N818 - what the mock does, not what went wrong in it
    """A request is answered with the scenario of a problem.

    ``words``      what is wrong, the most particular word first
    ``violation``  what `$violation.NAME` offers to the scenario: field, message, rule, location
    """

    def __init__(self, word: str, message: str, *, field: str = "", location: str = "body", finer: Sequence[str] = ()) -> None:
        """Refuse by `word`, or by one of the `finer` words if the contract knows it."""
        super().__init__(message)
        self.words = (*finer, word)
        self.violation: Mapping[str, str] = {"field": field, "message": message, "rule": word, "location": location}

    @classmethod
    def by(cls, found: RequestViolation) -> Refusal:
        """Refuse because of what validation found."""
        refusal = cls("invalid-request", found.message, finer=tuple(_finer(found)))
        refusal.violation = found.as_mapping()
        return refusal


def _finer(found: RequestViolation) -> Iterator[str]:
    """Yield the particular words for a violation: `missing-file` and the like, `missing-parameter`, `invalid-json-text`."""
    if found.violation.rule == "required" and found.field:
        yield f"missing-{found.field.replace('_', '-')}"
        yield "missing-parameter"
    if found.violation.rule == "required" and not found.field:
        yield "malformed-body"
    if found.violation.rule.startswith("content"):
        yield "invalid-json-text"


def scenario_key(problems: Mapping[str, str], words: Sequence[str], *, api: str) -> str:
    """Return `<status>-<name>` of the first word that `x-problems` knows; raise SpecError if it knows none of them."""
    for word in words:
        if word in problems:
            return problems[word]
    raise SpecError(f"specs/{api}/openapi.yaml: x-problems has none of {', '.join(words)}. Map one of them to a scenario.")
