"""The cause of a violation: its rule, its place and the sort of thing that came, without the values of one answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowcontract.schemas.violations import Violation

_LONGEST = 160  # characters of a place or of a word: a server may send megabytes of either
_STATUSES = re.compile(r"\d{3}(?: or \d{3})*(?=: )")
_VARYING = re.compile(r"(?<=/)(?:\d+|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(?=/|$)")
_NUMBER = re.compile(r"\d+")
_MISSING = re.compile(r"(?:an object with the field|the header) `(.*?)`", re.DOTALL)
_WORD = re.compile(r'(?:the text )?"?([A-Za-z][\w./+-]*)"?$')
_VALUES = {"the text": "text", "a list": "list", "an empty list": "list", "an object": "object"} | {
    "an empty object": "object", "null": "null", "true": "boolean", "false": "boolean",
}  # fmt: skip
_ANSWERED = {"status", "outcome"}
_NAMED = {"code", "media-type", "order", "end", "unknown", "enum", "const"}  # `got` is a word of some vocabulary
_WORDED = {"agree", "stop", "event"}  # described in words, without a place


def describe_cause(violation: Violation) -> str:
    """Return rule, place and what came, in a form that stays the same from run to run.

    >>> from flowcontract.schemas.violations import Violation
    >>> describe_cause(Violation("status", "400: field `user` must be text, is 12345", '500 {"code": "unknown"}'))
    'status 500'
    >>> describe_cause(Violation("status", "200: the request is documented", "500"))
    'status 500 instead of success'
    >>> describe_cause(Violation("type", "text", "null", "/data/3/id"))
    'type /data/*/id null'
    >>> absent = Violation("required", "an object with the field `id`", "an object with the fields code", "/data/3")
    >>> describe_cause(absent)
    'required /data/*/id missing'
    """
    parts = (violation.rule, _describe_place(violation), _describe_got(violation))
    return escape_unprintable(" ".join(filter(None, parts)))


def escape_unprintable(text: str) -> str:
    r"""Return a text with unprintable characters escaped, so that any file can hold it.

    >>> plain("a" + chr(0) + chr(0xD800))
    'a\\u0000\\ud800'
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def _describe_place(violation: Violation) -> str:
    if violation.rule in _WORDED:
        words = re.split(r'["\[{]', violation.expected, maxsplit=1)[0].split()  # up to the first value that is JSON
        return _truncate(" ".join("*" if _NUMBER.search(word) else word for word in words).strip(" ,:*"))
    missing = _MISSING.match(violation.expected)
    where = f"{violation.where}/{missing[1]}" if missing else violation.where
    return _truncate(_VARYING.sub("*", where))


def _describe_got(violation: Violation) -> str:
    got = violation.got
    if violation.rule in _WORDED:
        return ""
    if _MISSING.match(violation.expected):
        return "missing"
    if violation.rule in _ANSWERED:
        wanted = _STATUSES.match(violation.expected)
        success = wanted and all(status.startswith("2") for status in wanted[0].split(" or "))
        return got[:3] + (" instead of success" if success else "")
    word = _WORD.match(got) if violation.rule in _NAMED else None
    return _truncate(_NUMBER.sub("*", word[1])) if word else _read_json_kind(got)


def _read_json_kind(got: str) -> str:
    """Return the type of a JSON value that is described in words."""
    if got[:1].isdigit() or got[:1] == "-":
        return "number"
    return next((kind for words, kind in _VALUES.items() if got.startswith(words)), "")


def _truncate(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
