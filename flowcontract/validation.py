"""Compiled validators: what came against what the contract demands, as Violations a stranger can mend a server by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flowcontract.violations import Violation

if TYPE_CHECKING:
    from flowcontract.specs import Operation

ABSENT: Final = object()  # the body of a request that has none; None is the JSON value null


class Validators:
    """The schemas of one bundle, each compiled on first use."""

    def __init__(self, bundle: Mapping[str, Any]) -> None:
        """Keep a bundle: an OpenAPI document without external references."""
        self.bundle = bundle

    def is_valid(self, pointer: str, instance: object) -> bool:
        """Tell whether a JSON value satisfies the schema at a JSON pointer into the bundle."""
        raise NotImplementedError

    def violations(self, pointer: str, instance: object, *, limit: int = 20) -> list[Violation]:
        """Return what is wrong with a JSON value by the schema at a JSON pointer into the bundle, `limit` at most."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class RequestViolation:
    """What is wrong with a request, and in which parameter or field.

    ``location``   body | query | path | header
    ``field``      the parameter's name, or the dotted path of the field (``inputs.name``, ``files.0.url``); '' for the whole body
    ``violation``  the difference itself; ``where`` is a JSON pointer into the body, or into the parameter's value
    """

    location: str
    field: str
    violation: Violation

    @property
    def message(self) -> str:
        """One sentence for people: "required field `user` is missing"."""
        raise NotImplementedError

    def as_mapping(self) -> dict[str, str]:
        """Return what `$violation.NAME` offers to a scenario: field, message, rule, location."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request's values with the types that the contract gives them, and what is wrong with them.

    Parameters that are undecodable or absent are not in ``path``, ``query`` and ``headers``; defaults are not filled in.
    """

    path: Mapping[str, Any]
    query: Mapping[str, Any]
    headers: Mapping[str, Any]
    body: Any  # None without one
    violations: tuple[RequestViolation, ...]


def check_request(
    validators: Validators,
    operation: Operation,
    *,
    path: Mapping[str, str],
    query: Mapping[str, Sequence[str]],
    headers: Mapping[str, str],
    body: Any = ABSENT,
    media_type: str = "",
) -> CheckedRequest:
    """Decode a request by its operation's schemas and return the values with all violations, parameters first.

    ``query`` has every value of a repeated parameter; ``headers`` may have names in any case. ``body`` is parsed JSON, or
    for forms a mapping of fields: text, ``{filename, content_type, size}`` for an uploaded part, or a list of these where
    a field is repeated. ``media_type`` is the body's (parameters such as charset are ignored).
    """
    raise NotImplementedError


def sample_violation(operation: Operation) -> RequestViolation:
    """Return the first thing that could be wrong with a request to an operation; always the same one.

    Used where an error scenario is forced upon a request that has nothing wrong.
    """
    raise NotImplementedError


def response_violations(
    validators: Validators, operation: Operation, status: int, headers: Mapping[str, str], body: object
) -> list[Violation]:
    """Return what is wrong with an answer: status, media type, required headers, body.

    ``body`` is the raw bytes, or an already parsed JSON value. Streamed bodies (``x-stream``) are judged elsewhere, event by
    event; here only their status and headers are.
    """
    raise NotImplementedError


def find_media(offered: Mapping[str, Any], content_type: str) -> str | None:
    """Return the name under which a media type stands in a `content` mapping (exact, then `audio/*`, then `*/*`), or None."""
    raise NotImplementedError
