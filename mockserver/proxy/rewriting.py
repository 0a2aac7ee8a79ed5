"""`--redact` and `--words`: what else of JSON is not recorded as it was, its bytes found where they stand."""

from __future__ import annotations

import itertools
import json
import re
import zlib
from typing import TYPE_CHECKING, NamedTuple

from flowcontract.output.secret_texts import MASK, mask_query

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Path = tuple[str | int, ...]
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[\[\]{},:]', re.DOTALL)
_CLOSING = ("]", "}")
_TELLING = (
    "event type status mode object code response_mode transfer_method belongs_to node_type method extension currency "
    "mime_type content_type model lang_type format role sender_type category source flow_version app_mode"
)
_KEPT = frozenset(_TELLING.split())
"""Names of what is no text of anybody's, but tells what a value is."""
_KEPT_ENDS = ("id", "ids", "_at", "_by", "_type", "_time", "_price", "_unit")
_SAMPLE = (
    "all any are but can day did end far few for get had has her him his how its let man may new not now off old one "
    "our out own per put ran run saw say see set she sit six the too try two use was way who why yes yet you"
)
_WORDS = tuple(_SAMPLE.split())


class Scalar(NamedTuple):
    """A text, a number or another plain value in JSON: where it stands, and under which names and numbers."""

    path: Path
    start: int
    end: int


def find_scalars(text: str) -> Iterator[Scalar]:
    """Yield the plain values of the JSON in a text, which may have other lines around it and between its tokens."""
    stack: list[tuple[bool, str | int]] = []  # whether it is an object, and the name or the number that is next
    name: tuple[str, int] | None = None  # a text that may be the name of what follows
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in ("{", "["):
            stack.append((mark == "{", "" if mark == "{" else 0))
        elif mark in _CLOSING:
            if name is not None and stack:
                yield Scalar(_build_path(stack), name[1], name[1] + len(name[0]))
            name = None
            del stack[-1:]
        elif mark == ":" and stack and stack[-1][0] and name is not None:
            stack[-1] = (True, _load(name[0]))
            name = None
        elif mark == "," and stack:
            if name is not None:
                yield Scalar(_build_path(stack), name[1], name[1] + len(name[0]))
            name = None
            is_object, place = stack[-1]
            stack[-1] = (is_object, "" if is_object or isinstance(place, str) else place + 1)
        elif mark.startswith('"') and stack:
            name = (mark, token.start())
        elif stack and mark != ":":
            yield Scalar(_build_path(stack), token.start(), token.end())


def _build_path(stack: list[tuple[bool, str | int]]) -> Path:
    return tuple(place for _, place in stack)


def _load(literal: str) -> str:
    try:
        return str(json.loads(literal))
    except ValueError:
        return literal.strip('"')


class Rewriting:
    """What is replaced in all JSON that is recorded.

    >>> rewriting = Rewriting(["users.email"], words=False)
    >>> rewriting.text('{"users": [{"email": "a@b.c", "id": 1}]}')
    '{"users": [{"email": "***", "id": 1}]}'
    """

    def __init__(self, redacted: Sequence[str] = (), *, words: bool = False) -> None:
        """Redact by names of fields (`email`, `users.email`) or by JSON pointers; write words in place of all texts."""
        self._pointers = [_parse_pointer(rule) for rule in redacted if rule.startswith("/")]
        self._names = [tuple(rule.lower().split(".")) for rule in redacted if rule and not rule.startswith("/")]
        self._words = words

    def __bool__(self) -> bool:
        """Whether anything is replaced."""
        return bool(self._pointers or self._names or self._words)

    def find_spans(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield start and end of what is replaced in a text with JSON in it, and by what."""
        for scalar in find_scalars(text):
            if self.redacts(scalar.path):
                yield scalar.start, scalar.end, f'"{MASK}"'
            elif self._words and text[scalar.start] == '"' and not _is_kept(scalar.path):
                written = text[scalar.start + 1 : scalar.end - 1]
                yield scalar.start + 1, scalar.end - 1, make_words(written)

    def redacts(self, path: Path) -> bool:
        """Tell whether a value is redacted: it, or what it is in."""
        if any(path[: len(pointer)] == pointer for pointer in self._pointers):
            return True
        names = [part.lower() for part in path if isinstance(part, str)]
        return any(
            tuple(names[start : start + len(wanted)]) == wanted
            for wanted in self._names
            for start in range(len(names) - len(wanted) + 1)
        )

    def hides(self, name: str) -> bool:
        """Tell whether a header, or a parameter, is redacted."""
        return self.redacts((name,))

    def rewrite_query(self, text: str) -> str:
        """Return a query, or an urlencoded body, without what is redacted."""
        return mask_query(text, self.hides) if self._names else text

    def rewrite_text(self, text: str) -> str:
        """Return a text with JSON in it as it is recorded."""
        shown, end = [], 0
        for start, stop, by in self.find_spans(text):
            shown += [text[end:start], by]
            end = stop
        return "".join([*shown, text[end:]])


def make_words(text: str) -> str:
    """Return words as long as a text; the same ones for the same text."""
    size, seed = len(text), zlib.crc32(text.encode("utf-8", "surrogatepass"))
    said = itertools.chain.from_iterable(itertools.repeat(_WORDS))
    start = seed % len(_WORDS)
    joined = " ".join(itertools.islice(said, start, start + size // 4 + 1))
    written = joined[:size]
    return f"{written[:-1]}s" if written.endswith(" ") else written


def _is_kept(path: Path) -> bool:
    name = next((part.lower() for part in reversed(path) if isinstance(part, str)), "")
    return name in _KEPT or name.endswith(_KEPT_ENDS)


def _parse_pointer(text: str) -> Path:
    parts = [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]
    return tuple(int(part) if part.isdecimal() else part for part in parts)
