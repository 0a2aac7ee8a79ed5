"""What is wrong with a request -> the word for it in the contract's `x-refusals` -> the scenario that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowcontract.errors import SpecError
from flowcontract.validation import pydantic_words
from flowcontract.validation.refusals import list_refusal_words

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from flowcontract.scenarios.expressions import RequestView
    from flowcontract.validation.request import CheckedRequest

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
        self.words = tuple(each[:_TOLD] for each in (*finer, word))  # they name fields, as the client does
        entry = entry or pydantic_words.build_entry("value_error", (location, field), message[:_TOLD])
        self.violation: Mapping[str, Any] = {
            "field": field[:_TOLD],
            "message": message[:_TOLD],
            "rule": word,
            "location": location,
            **pydantic_words.group_entries([entry]),
        }

    def drop_traceback(self) -> Refusal:
        """Return it without its traceback, which would hold the request and its files until the next collection."""
        self.__traceback__ = self.__context__ = None
        return self

    @classmethod
    def from_checked(cls, checked: CheckedRequest, sent: RequestView) -> Refusal:
        """Refuse because of what validation found: the first violation says by what, entries tell of all."""
        found = checked.violations[0]
        *finer, word = list_refusal_words(found)
        refusal = cls(word, found.message, finer=finer)
        entries = [entry for each in checked.violations for entry in pydantic_words.list_entries(each, sent)]
        refusal.violation = {**found.as_mapping(), **pydantic_words.group_entries(entries)}
        return refusal


def find_scenario_key(problems: Mapping[str, str], words: Sequence[str], known: Collection[str], *, api: str) -> str:
    """Return the scenario of the first word that `x-refusals` has, `<status>-<name>`; raise SpecError without one."""
    for word in (*words, *_INSTEAD):
        if problems.get(word) in known:
            return problems[word]
    raise SpecError(
        f"specs/{api}/openapi.yaml: x-refusals maps none of {', '.join(words)} to a scenario. Map one of them."
    )
