"""Finds and masks what stands under the name of a secret: in JSON and fragments of it, in queries, in URLs."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_plus

from flowcontract.output.secret_names import HINTS, is_secret_name

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator

MASK = "***"
"""Replaces a secret."""
TELLS_NOTHING = frozenset({"true", "false", "null", "none", "undefined"})
"""Values, in lower case, that reveal nothing under whatever name."""

# Values

_NESTED = 3  # JSON in a text in JSON


def find_secret_values(value: Any) -> Iterator[str]:
    """Yield texts and numbers at any depth under names of secrets in a JSON value, or in JSON inside its texts."""
    pending = [(value, False, _NESTED)]
    while pending:
        here, is_secret, nested = pending.pop()
        if isinstance(here, dict):
            pending += [(inner, is_secret or is_secret_name(name), nested) for name, inner in here.items()]
        elif isinstance(here, list):
            pending += [(inner, is_secret, nested) for inner in here]
        elif is_secret and isinstance(here, str | int | float) and not isinstance(here, bool):
            yield str(here)
        elif isinstance(here, str) and nested and here.lstrip()[:1] in ("{", "["):
            pending.append((_parse_json(here), False, nested - 1))


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


# Texts

_FIELD = re.compile(r'(?<!\\)"([^"\\]*+(?:\\.[^"\\]*+)*+)"\s*+:(?:\s++(?:data:)?)*+', re.DOTALL)
"""The name of a field; an event may have its value in the next line."""
_NESTED_FIELD = re.compile(r'(?<!\\)(\\+)"([^"\\]{1,200})\1"\s*+:\s*+')
"""A field in JSON inside a text of JSON, to any depth: the backslashes, and its name."""
_NESTED_NAME_END = re.compile(r'\\"\s*+:')
"""How the name of such a field ends; most texts with quotes in them have none, which is soon found."""
_NESTED_VALUE = re.compile(r'(\\+)"(.*?)(?:(?<!\\)\1"|\Z)|([^\s,\]}\[{\\"]+)', re.DOTALL)
"""The value behind it: a text, which may be cut, or a scalar."""
_STRING = r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)'  # the last one may be cut
_SCALAR = re.compile(rf"{_STRING}|[^\s,\]}}\[{{]+", re.DOTALL)
_VALUE = re.compile(rf"{_STRING}(?!\s*:)", re.DOTALL)
_BRACKET = re.compile(rf"{_STRING}|([\[{{])|([\]}}])", re.DOTALL)
_TEXT_OF_JSON = re.compile(r'"(?:\s|\\[fnrt]|\\u[0-9a-f]{4})*(?:[\[{]|\\u00[57]b)', re.IGNORECASE)
"""Where JSON may begin inside a text of JSON: its first bracket, perhaps behind white space, either of them escaped."""
_PAIR = re.compile(r"(?:\A|(?<=[&;?]))([^=&;?]*)=")
_QUERY = re.compile(r"[?#]([^\s\"'<>\\#]+)")
_USER = re.compile(r"(?<=://)[^/@\s\"'<>\\?#]+(?=@)")


_CREDENTIALS = re.compile(
    r"""(?:authorization["']?\s*[:=]\s*["']?(?:bearer|basic|token)|\bbearer(?=\s+[\w.~+/-]*\d))\s+([\w.~+/-]+=*)""",
    re.IGNORECASE,
)
"""A header that somebody quotes within a text, or the token alone (RFC 6750, 2.1): it has a digit, no word has."""
_SHORTEST_ALONE = 8  # characters of a token without the header's name: `bearer 2`
UNSHOWN = "(UTF-16, not shown)"
"""Replaces what no name of a secret can be found in."""


def mask_text(text: str, public: Container[str] = ()) -> str:
    """Mask the values of secrets in a text: in JSON or a fragment of it, in queries and user info of URLs.

    Also a header that carries a key, where the text quotes one, unless that is `public`. A text that is UTF-16 is
    masked as a whole.
    """
    if _is_utf16(text):
        return UNSHOWN
    text = mask_fields(text) if '"' in text else text
    text = _replace(text, _find_credentials(text, public), MASK)
    text = _replace(text, _find_nested_fields(text), MASK)
    text = _QUERY.sub(lambda query: f"{query[0][0]}{mask_query(query[1])}", text) if _has_query(text) else text
    return _USER.sub(MASK, text) if "@" in text else text


def find_spans_in_text(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start and end of the values that `mask_text` masks, in order, and what it writes instead."""
    if _is_utf16(text):
        yield 0, len(text), UNSHOWN
        return
    found = [(*span, f'"{MASK}"') for span in _find_secret_fields(text)] if '"' in text else []
    found += [(*span, MASK) for span in _find_credentials(text)]
    found += [(*span, MASK) for span in _find_nested_fields(text)]
    for query in _QUERY.finditer(text) if _has_query(text) else ():
        pairs = _find_secret_pairs(query[1], is_secret_name)
        found += [(query.start(1) + start, query.start(1) + stop, MASK) for start, stop in pairs]
    found += [(*user.span(), MASK) for user in _USER.finditer(text)] if "@" in text else []
    end = 0
    for start, stop, by in sorted(found):
        if start >= end:
            yield start, stop, by
            end = stop


def _is_utf16(text: str) -> bool:
    """Tell whether a text is UTF-16 that was read as something else: every other character of its beginning is NUL."""
    start = text[:6]
    return "\0" in start and any(
        start[place : place + 1] == start[place + 2 : place + 3] == "\0" for place in range(len(start) - 2)
    )


def _find_credentials(text: str, public: Container[str] = ()) -> Iterator[tuple[int, int]]:
    """Yield start and end of keys in headers that a text quotes, but for those that are `public`."""
    lower = text.lower()
    for found in _CREDENTIALS.finditer(text) if "bearer" in lower or "authorization" in lower else ():
        start, end = found.span(1)
        named = found[0][:1] not in "bB"
        if (named or end - start >= _SHORTEST_ALONE) and found[1] not in public:
            yield start, end


def _has_query(text: str) -> bool:
    """Tell whether a text may have a query of a URL, or a fragment, which some servers send tokens in."""
    return "=" in text and ("?" in text or "#" in text)


def mask_fields(text: str) -> str:
    """Mask the values of secrets, whatever their type, in a JSON text or a fragment of one.

    Everything else is unchanged, and so are `null`, `true`, `false`, which reveal nothing.
    """
    return _replace(text, _find_secret_fields(text), f'"{MASK}"')


def mask_query(text: str, hides: Callable[[str], bool] = is_secret_name) -> str:
    """Mask the values whose names satisfy `hides` in a query or an urlencoded body."""
    return _replace(text, _find_secret_pairs(text, hides), MASK)


def _replace(text: str, spans: Iterable[tuple[int, int]], by: str) -> str:
    shown, end = [], 0
    for start, stop in spans:
        shown += [text[end:start], by]
        end = stop
    return "".join([*shown, text[end:]])


def find_values_in_text(text: str) -> Iterator[str]:
    """Yield the values that `mask_text` masks, decoded, and those in JSON inside texts of JSON."""
    spans = tuple(_find_secret_fields(text))
    for start, end in spans:
        yield from _find_texts(text[start:end])
    for start, end in (*_find_nested_fields(text), *_find_credentials(text)):
        yield text[start:end]
    if text.lstrip()[:1] in ("{", "[") and (spans or _TEXT_OF_JSON.search(text)):  # else nothing has a secret's name
        yield from find_secret_values(_parse_json(text))
    for query in _QUERY.finditer(text) if _has_query(text) else ():
        yield from find_values_in_query(query[1])
    for user in _USER.finditer(text) if "@" in text else ():
        yield unquote(user[0]).rpartition(":")[2]


def find_values_in_query(text: str, hides: Callable[[str], bool] = is_secret_name) -> Iterator[str]:
    """Yield the values that `mask_query` masks, decoded."""
    for start, end in _find_secret_pairs(text, hides):
        yield unquote_plus(text[start:end])


def _find_texts(written: str) -> Iterator[str]:
    """Yield the texts of a JSON value that may be truncated."""
    value = _parse_json(written)
    if value is None:
        value = [_unescape(text[0].strip('"')) for text in _VALUE.finditer(written)]
    yield from find_secret_values({"secret": value})


def _find_secret_fields(text: str) -> Iterator[tuple[int, int]]:
    if not _may_have_secrets(text) or _is_json_without_secrets(text):
        return
    hidden = {name for name in set(_FIELD.findall(text)) if is_secret_name(_unescape(name))}
    end = 0
    for field in _FIELD.finditer(text) if hidden else ():
        if field[1] in hidden and field.start() >= end:
            start, end = field.end(), _find_end_of_value(text, field.end())
            if text[start:end].lower() not in ("", '""', *TELLS_NOTHING):
                yield start, end


def _find_nested_fields(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of the values of secrets in JSON inside texts of JSON, without their quotes."""
    if not _NESTED_NAME_END.search(text) or not _may_have_secrets(text):
        return
    end = 0
    for field in _NESTED_FIELD.finditer(text):
        if field.start() < end or not is_secret_name(field[2]):
            continue
        value = _NESTED_VALUE.match(text, field.end())
        if value is not None and value[1] in (None, field[1]):
            start, end = value.span(2 if value[3] is None else 3)
            if start < end and text[start:end].lower() not in TELLS_NOTHING:
                yield start, end


def _may_have_secrets(text: str) -> bool:
    """Tell whether a text can have the name of a secret; a cheap check, since most texts have none."""
    lower = text.lower()
    return not text.isascii() or any(hint in lower for hint in HINTS)


@lru_cache(maxsize=32)  # a text is asked about several times in a row
def _is_json_without_secrets(text: str) -> bool:
    """Tell whether a text is whole JSON in which no field has a secret's name: parsing is the fastest way to know."""
    if text[:1] not in ("{", "["):
        return False
    names: set[str] = set()
    try:
        json.loads(text, object_pairs_hook=lambda pairs: names.update(name for name, _ in pairs))
    except (ValueError, RecursionError):
        return False
    return not any(map(is_secret_name, names))


def _find_secret_pairs(text: str, hides: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
    end = 0
    while pair := _PAIR.search(text, end):
        start = end = pair.end()
        if hides(pair[1]):
            end = len(text) if (ampersand := text.find("&", start)) < 0 else ampersand
            if start < end:
                yield start, end


def _unescape(string: str) -> str:
    return str(_parse_json(f'"{string}"') or string) if "\\" in string else string


def _find_end_of_value(text: str, start: int) -> int:
    if text[start : start + 1] not in ("{", "["):
        scalar = _SCALAR.match(text, start)
        return scalar.end() if scalar else start
    depth = 0
    for found in _BRACKET.finditer(text, start):
        depth += bool(found[1]) - bool(found[2])
        if depth == 0:
            return found.end()
    return len(text)
