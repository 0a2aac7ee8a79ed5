"""What is wrong with a request -> the words for it in the contract's `x-refusals`, the most particular first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcontract.validation.request import UPLOAD

if TYPE_CHECKING:
    from flowcontract.specs.model import SecurityScheme
    from flowcontract.validation.request import RequestViolation


def list_refusal_words(violation: RequestViolation) -> tuple[str, ...]:
    """Return the words that fit a violation; the last one, `invalid-request`, fits every one.

    `not-a-file` is text in place of a file, `no-object` a body that is not an object, `wrong-type-FIELD` a field with
    a value of another type in it or in place of it, `missing-body` no body. `*.KEY` is that key of an object in any
    field.

    >>> from flowcontract.schemas.violations import Violation
    >>> from flowcontract.validation.request import RequestViolation
    >>> list_refusal_words(RequestViolation("body", "user", Violation("required", "the field `user`", "none")))
    ('missing-user', 'missing-parameter', 'invalid-user', 'invalid-request')
    """
    field, rule = violation.field.replace("_", "-"), violation.violation.rule
    outermost = field.partition(".")[0]
    inner = [f"*.{field.rpartition('.')[2]}"] if "." in field else []
    words: list[str] = []
    if violation.violation.expected == UPLOAD:
        words += ["not-a-file"]
    if rule == "type" and violation.location == "body":
        words += [f"wrong-type-{name}" for name in (*inner, outermost)] if field else ["no-object"]
    if rule == "required":
        words += [f"missing-{name}" for name in (field, *inner)] if field else ["missing-body", "malformed-body"]
        words += ["missing-parameter"]
    if rule in ("media-type", "typed"):
        words += ["unsupported-file-type"] if field else ["wrong-media-type"]
    if rule.startswith("content"):
        words += ["invalid-json-text"]
    invalid = [f"invalid-{name}" for name in (field, *inner, outermost)]
    return tuple(dict.fromkeys([*words, *invalid, "invalid-request"]))


def list_wrong_key_words(scheme: SecurityScheme | None) -> tuple[str, ...]:
    """Return the words for a key that is not valid; None stands for a scheme that is not known."""
    return ("wrong-token", "wrong-key") if scheme is not None and scheme.is_token else ("wrong-key",)
