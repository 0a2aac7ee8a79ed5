"""Recognises names of secrets, and masks secrets in all output, whether raw, encoded or quoted."""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_plus

from flowcontract.output.encodings import LAYERS, decode, encodes_out_of_need, is_encoded, outside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flowcontract.output.encodings import Layer

MASK = "***"
"""Replaces a secret."""

# Names


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORD = re.compile(r"[^\W\d_]+|\d+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TELLING = _words(
    "auth authorization bearer cookie cookies credential credentials jwt oauth otp passcode passphrase passwd password "
    "passwords passwds pwd secret secrets session sig signature token totp"
)
"""Last words of names of secrets."""
_GLUED = re.compile(
    r"(?:passw(?:or)?ds?|passphrase|passcode|pwd|secrets?|credentials?|token|jwt"
    r"|(?:api|access|auth|client|private|secret|subscription|master|admin|shared|signing|encryption)keys?"
    r"|(?:access|auth|api|refresh|bearer)tokens)\Z"
)
"""Ends of compound words without humps and hyphens: `clientsecret`, `XAPIKEY`."""
_HINTS = (
    "auth",
    "token",
    "key",
    "pass",
    "pwd",
    "secret",
    "cred",
    "cookie",
    "session",
    "sig",
    "jwt",
    "otp",
    "bearer",
    "\\u",
    "%",
)
"""Every name of a secret contains one of these, or of their encodings."""
_HARMLESS_KEYS = _words(
    "answer cache column dict event field foreign form group hash i18n idempotency index input item json lookup map "
    "message object output partition path primary property public question result row socket sort text translation "
    "value variable"
)
"""Words before `key` in names that are no secrets; `X-Anything-Key` is one."""
_SECRET_TOKENS = _words("access api auth bearer refresh secret session")
"""Words before `tokens` in names of secrets; other tokens (`total_tokens`) are counts."""
_TOLD_OF_TOKENS = _words("first last per")
"""Words before `token` in names of measures: `time_to_first_token`."""
_OF_THE_SECRET = _words(
    "again base64 b64 confirm confirmation confirmed current digest encoded hash new old plain plaintext raw repeat "
    "string text value verify"
)
"""Words that may follow: `password_confirmation`."""


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Tell whether a name is that of a secret: of a header, a parameter, a field of a form or of JSON.

    In any spelling: `api_key`, `X-Access-Key`, `clientSecret`, `user[password]`, `x%2Dapi%2Dkey`, `APIKEY`.
    """
    if name.lower().startswith("access-control-"):  # `Access-Control-Allow-Credentials: true`
        return False
    plain = unicodedata.normalize("NFKC", unquote_plus(unquote(name)))
    return any(_is_telling(part) for part in re.split(r"[\[\]]", plain))


def _is_telling(part: str) -> bool:
    words = [word.lower() for word in _WORD.findall(_HUMP.sub(" ", part))]
    while len(words) > 1 and (words[-1] in _OF_THE_SECRET or words[-1].isdigit()):
        words.pop()
    before, last = ["", "", *words][-2:]
    if last in ("key", "keys"):
        return bool(before) and before not in _HARMLESS_KEYS
    if last == "token" and before in _TOLD_OF_TOKENS:
        return False
    if last == "tokens":
        return before in _SECRET_TOKENS
    return last in _TELLING or _GLUED.search(last) is not None


# Values

_NESTED = 3  # JSON in a text in JSON


def secret_values(value: Any) -> Iterator[str]:
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


def mask_text(text: str) -> str:
    """Mask the values of secrets in a text: in JSON or a fragment of it, in queries and user info of URLs."""
    text = mask_fields(text) if '"' in text else text
    text = _replace(text, _find_nested_fields(text), MASK)
    text = _QUERY.sub(lambda query: f"{query[0][0]}{mask_query(query[1])}", text) if _has_query(text) else text
    return _USER.sub(MASK, text) if "@" in text else text


def spans_in_text(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start and end of the values that `mask_text` masks, in order, and what it writes instead."""
    found = [(*span, f'"{MASK}"') for span in _find_secret_fields(text)] if '"' in text else []
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


def values_in_text(text: str) -> Iterator[str]:
    """Yield the values that `mask_text` masks, decoded, and those in JSON inside texts of JSON."""
    spans = tuple(_find_secret_fields(text))
    for start, end in spans:
        yield from _texts_of_value(text[start:end])
    for start, end in _find_nested_fields(text):
        yield text[start:end]
    if text.lstrip()[:1] in ("{", "[") and (spans or _TEXT_OF_JSON.search(text)):  # else nothing has a secret's name
        yield from secret_values(_parse_json(text))
    for query in _QUERY.finditer(text) if _has_query(text) else ():
        yield from values_in_query(query[1])
    for user in _USER.finditer(text) if "@" in text else ():
        yield unquote(user[0]).rpartition(":")[2]


def values_in_query(text: str, hides: Callable[[str], bool] = is_secret_name) -> Iterator[str]:
    """Yield the values that `mask_query` masks, decoded."""
    for start, end in _find_secret_pairs(text, hides):
        yield unquote_plus(text[start:end])


def _texts_of_value(written: str) -> Iterator[str]:
    """Yield the texts of a JSON value that may be truncated."""
    value = _parse_json(written)
    if value is None:
        value = [_unescape(text[0].strip('"')) for text in _VALUE.finditer(written)]
    yield from secret_values({"secret": value})


def _find_secret_fields(text: str) -> Iterator[tuple[int, int]]:
    if not _may_have_secrets(text) or _is_json_without_secrets(text):
        return
    hidden = {name for name in set(_FIELD.findall(text)) if is_secret_name(_unescape(name))}
    end = 0
    for field in _FIELD.finditer(text) if hidden else ():
        if field[1] in hidden and field.start() >= end:
            start, end = field.end(), _find_end_of_value(text, field.end())
            if text[start:end].lower() not in ("", '""', *_TELLS_NOTHING):
                yield start, end


def _find_nested_fields(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of the values of secrets in JSON inside texts of JSON, without their quotes."""
    if '\\"' not in text or not _may_have_secrets(text):
        return
    end = 0
    for field in _NESTED_FIELD.finditer(text):
        if field.start() < end or not is_secret_name(field[2]):
            continue
        value = _NESTED_VALUE.match(text, field.end())
        if value is not None and value[1] in (None, field[1]):
            start, end = value.span(2 if value[3] is None else 3)
            if start < end and text[start:end].lower() not in _TELLS_NOTHING:
                yield start, end


def _may_have_secrets(text: str) -> bool:
    """Tell whether a text can have the name of a secret; a cheap check, since most texts have none."""
    lower = text.lower()
    return not text.isascii() or any(hint in lower for hint in _HINTS)


@lru_cache(maxsize=32)  # a text is asked about several times in a row
def _is_json_without_secrets(text: str) -> bool:
    """Tell whether a text is whole JSON in which no field has the name of a secret: parsing tells it soonest."""
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


# Known values

_SHORTEST = 4  # characters; shorter secrets occur by chance everywhere, and are only masked by their names
_PIECE = 10  # bytes of a secret that reveal something of it
_LONG = 8  # characters; of shorter secrets only whole words are masked
_NEVERENCODED = re.compile(rf"[A-Za-z0-9._~-]{{{_LONG},}}")
_BASE64 = 8  # characters of Base64 that do not match by chance
_TELLS_NOTHING = frozenset({"true", "false", "null", "none", "undefined"})


class Secrets:
    """A set of secret values, masked wherever they occur: raw, percent-encoded, JSON- or HTML-escaped, in Base64.

    >>> Secrets(["a/b+c=12"]).mask("?key=a%2Fb%2Bc%3D12&user=u")
    '?key=***&user=u'
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        """Begin with these values."""
        self._values: list[str] = []
        for value in values:
            self.add(value)

    def add(self, value: str) -> None:
        """Add a value, unless it has fewer than four characters, which would match everywhere."""
        value = value.strip()
        if len(value) < _SHORTEST or value.lower() in _TELLS_NOTHING or not value.strip("*") or value in self._values:
            return
        self._values.append(value)
        self._values.sort(key=len, reverse=True)  # so that one that contains another is masked as a whole

    def add_header(self, name: str, value: str) -> None:
        """Add the secrets of a header: the key without its scheme, each value of a cookie."""
        for secret in values_in_header(name, value):
            self.add(secret)

    def __iter__(self) -> Iterator[str]:
        """Yield the values, the longest first."""
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def mask(self, text: str, by: str = MASK, *, pieces: bool = False) -> str:
        """Return a text with `by` in place of every secret, in any encoding.

        With `pieces`, also in place of the ten or more characters that truncation has left of one.
        """
        masked = self.mask_bytes(text.encode("utf-8", "surrogatepass"), by.encode(), pieces=pieces)
        return masked.decode("utf-8", "surrogatepass")

    def mask_bytes(self, data: bytes, by: bytes = MASK.encode(), *, pieces: bool = False) -> bytes:
        """Return bytes with every secret masked; they need not be UTF-8."""
        shown, end = [], 0
        for start, stop in self.spans(data, pieces=pieces):
            shown += [data[end:start], by]
            end = stop
        return b"".join([*shown, data[end:]])

    def spans(self, data: bytes, *, pieces: bool = False) -> Iterator[tuple[int, int]]:
        """Yield start and end of secrets, in order; overlapping ones are merged."""
        begun, end = 0, 0
        for start, stop in sorted(self._find(data, _find_pieces if pieces else _find_whole)):
            if start > end and end:
                yield begun, end
            begun, end = (start, stop) if start > end or not end else (begun, max(end, stop))
        if end:
            yield begun, end

    def _find(self, data: bytes, find: Callable[[bytes, str], Iterator[tuple[int, int]]]) -> Iterator[tuple[int, int]]:
        """Yield start and end of secrets, raw or below up to three layers of encodings."""
        layers: list[Layer] = []
        may_hide = encodes_out_of_need if all(map(_NEVERENCODED.fullmatch, self._values)) else is_encoded
        while self._values:
            for start, end in chain.from_iterable(find(data, value) for value in self._values):
                yield outside(layers, start), outside(layers, end)
            if len(layers) == LAYERS or not may_hide(data):
                return
            data, layer = decode(data)
            layers.append(layer)

    def unfinished(self, data: bytes) -> int:
        """Return how many bytes at the end of data may be the beginning of a secret, in any form, that goes on."""
        longest = 0
        for value in self._values:
            for form in (form for forms in _list_forms(value) for form in forms):
                size = min(len(form) - 1, len(data))
                while size > longest and not data.endswith(form[:size]):
                    size -= 1
                longest = max(longest, size)
        return longest

    def mask_json(self, value: Any) -> Any:
        """Return a JSON value with secrets masked in its texts and names, and all values under names of secrets.

        JSON and URLs inside its texts are masked by their names as well.
        """
        try:
            return self._mask_json(value)
        except RecursionError:
            return MASK

    def _mask_json(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.mask(mask_text(value))
        if isinstance(value, list | tuple):
            return [self._mask_json(item) for item in value]
        if isinstance(value, dict):
            return {self.mask(str(name)): self._mask_field(str(name), inner) for name, inner in value.items()}
        return value

    def _mask_field(self, name: str, value: Any) -> Any:
        hidden = value is not None and not isinstance(value, bool) and value != "" and is_secret_name(name)
        return MASK if hidden else self._mask_json(value)


def values_in_header(name: str, value: str) -> Iterator[str]:
    """Yield the secrets of a header: the key without its scheme, each value of a cookie."""
    value = value.strip()
    if name.lower() in ("cookie", "set-cookie"):
        pairs = value.split(";") if name.lower() == "cookie" else [value.partition(";")[0]]
        yield from (pair.partition("=")[2].strip().strip('"') for pair in pairs)
        return
    scheme, _, rest = value.partition(" ")
    yield rest.strip() or scheme
    if scheme.lower() == "basic":
        yield _basic_password(rest)


def _basic_password(basic: str) -> str:
    """Return the password of `Authorization: Basic ...` (RFC 7617), '' if it cannot be decoded."""
    try:
        return base64.b64decode(basic + "==").decode("utf-8", "surrogateescape").partition(":")[2]
    except ValueError:
        return ""


def _find_whole(data: bytes, value: str) -> Iterator[tuple[int, int]]:
    for pattern in _compile_patterns(value):
        for found in pattern.finditer(data):
            yield found.span()


def _find_pieces(data: bytes, value: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of a value, and of its beginnings and ends that are long enough to reveal something."""
    yield from _find_whole(data, value)
    for form in [form for forms in _list_forms(value) for form in forms if len(form) > _PIECE]:
        start, head, tail = 0, form[:_PIECE], form[-_PIECE:]
        while (start := data.find(head, start)) >= 0:
            length = _common_prefix_length(data[start : start + len(form)], form)
            while length < len(form) and _is_continuation(form[length]):
                length -= 1
            yield start, start + length
            start += _PIECE
        end = len(data)
        while (found := data.rfind(tail, 0, end)) >= 0:
            end = found + _PIECE
            length = _common_prefix_length(data[max(0, end - len(form)) : end][::-1], form[::-1])
            while _is_continuation(form[-length]):
                length -= 1
            yield end - length, end
            end = found


_CONTINUATION = range(0x80, 0xC0)  # bytes of UTF-8 that begin no character (RFC 3629, 3)


def _is_continuation(byte: int) -> bool:
    return byte in _CONTINUATION


def _common_prefix_length(data: bytes, other: bytes) -> int:
    """Return the length of the common prefix of two byte strings."""
    pairs = zip(data, other, strict=False)
    return next((number for number, (left, right) in enumerate(pairs) if left != right), min(len(data), len(other)))


@lru_cache(maxsize=1024)
def _compile_patterns(value: str) -> tuple[re.Pattern[bytes], ...]:
    """Return patterns that find a value in any of its forms."""
    pattern = b"%b" if len(value) >= _LONG else rb"(?<![0-9A-Za-z])%b(?![0-9A-Za-z])"
    plain, encoded = _list_forms(value)
    return tuple(
        re.compile(form) for form in [*(pattern % re.escape(form) for form in plain), *map(re.escape, encoded)]
    )


@lru_cache(maxsize=1024)
def _list_forms(value: str) -> tuple[list[bytes], list[bytes]]:
    """Return the forms of a value: plain (also with encoded parts of it decoded), and in Base64."""
    raw = value.encode("utf-8", "surrogatepass")
    forms = [raw]
    for _ in range(LAYERS):
        forms.append(decode(forms[-1])[0])
    return [form for form in dict.fromkeys(forms) if form.strip() and _is_text(form)], sorted(_base64_forms(raw))


def _is_text(form: bytes) -> bool:
    try:
        return form.decode("utf-8", "surrogatepass") is not None
    except UnicodeDecodeError:  # it would match in the middle of a character
        return False


def _base64_forms(raw: bytes) -> set[bytes]:
    """Return the parts of Base64 that a value determines within any text: three alignments, two alphabets."""
    parts = set()
    for before, start in ((0, 0), (1, 2), (2, 3)):  # bytes before the value, and characters that they affect
        end = (before + len(raw)) * 8 // 6
        padded = bytes(before) + raw
        parts |= {base64.b64encode(padded)[start:end], base64.urlsafe_b64encode(padded)[start:end]}
    return {part for part in parts if len(part) >= _BASE64}
