"""Which names carry a secret, and how known secrets are hidden in whatever is shown: raw, encoded, quoted."""

from __future__ import annotations

import base64
import html
import json
import re
import unicodedata
from bisect import bisect_right
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, unquote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MASK = "***"
"""What stands where a secret stood."""

# Names


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORD = re.compile(r"[^\W\d_]+|\d+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TELLING = _words(
    "auth authorization bearer cookie cookies credential credentials jwt oauth otp passcode passphrase passwd password "
    "passwords passwds pwd secret secrets session sig signature token totp"
)
"""Last words of names that carry a secret."""
_GLUED = re.compile(
    r"(?:passw(?:or)?ds?|passphrase|passcode|pwd|secrets?|credentials?|token|jwt"
    r"|(?:api|access|auth|client|private|secret|subscription|master|admin|shared|signing|encryption)keys?"
    r"|(?:access|auth|api|refresh|bearer)tokens)\Z"
)
"""How last words end that are written without humps and hyphens: `clientsecret`, `XAPIKEY`."""
_HARMLESS_KEYS = _words(
    "answer cache column dict event field foreign form group hash i18n idempotency index input item json lookup map "
    "message object output partition path primary property public question result row socket sort text translation "
    "value variable"
)
"""What stands before `key` where it opens nothing; `X-Anything-Key` does."""
_SECRET_TOKENS = _words("access api auth bearer refresh secret session")
"""What stands before `tokens`; other tokens (`total_tokens`) are counted, not secret."""
_OF_THE_SECRET = _words(
    "again base64 b64 confirm confirmation confirmed current digest encoded hash new old plain plaintext raw repeat "
    "string text value verify"
)
"""What may follow: `password_confirmation`."""


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Tell whether what stands under a name is a secret: a header, a parameter, a field of a form or of JSON.

    However it is written: `api_key`, `X-Access-Key`, `clientSecret`, `user[password]`, `x%2Dapi%2Dkey`, `APIKEY`.
    """
    if name.lower().startswith("access-control-"):  # `Access-Control-Allow-Credentials: true`
        return False
    plain = unicodedata.normalize("NFKC", unquote_plus(unquote(name)))
    return any(_tells(part) for part in re.split(r"[\[\]]", plain))


def _tells(part: str) -> bool:
    words = [word.lower() for word in _WORD.findall(_HUMP.sub(" ", part))]
    while len(words) > 1 and (words[-1] in _OF_THE_SECRET or words[-1].isdigit()):
        words.pop()
    before, last = ["", "", *words][-2:]
    if last in ("key", "keys"):
        return bool(before) and before not in _HARMLESS_KEYS
    if last == "tokens":
        return before in _SECRET_TOKENS
    return last in _TELLING or _GLUED.search(last) is not None


# Values

_NESTED = 3  # JSON in a text in JSON


def secret_values(value: Any) -> Iterator[str]:
    """Yield the texts and numbers that stand, however deep, under secret names in a JSON value, or in JSON in it."""
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
            pending.append((_parsed(here), False, nested - 1))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


_FIELD = re.compile(r'(?<!\\)"((?:[^"\\]|\\.)*)"\s*:\s*', re.DOTALL)
_STRING = r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)'  # the last one may be cut
_SCALAR = re.compile(rf"{_STRING}|[^\s,\]}}\[{{]+", re.DOTALL)
_BRACKET = re.compile(rf"{_STRING}|([\[{{])|([\]}}])", re.DOTALL)


def mask_fields(text: str) -> str:
    """Mask every value, of whatever type, that stands under a secret name in a JSON text, or in a piece of one.

    The rest stays as it is written. `null`, `true`, `false` tell nothing and stay.
    """
    shown, end = [], 0
    while field := _FIELD.search(text, end):
        shown.append(text[end : field.end()])
        end = field.end()
        if is_secret_name(_unescaped(field[1])):
            start, end = end, _end_of_value(text, end)
            shown.append(text[start:end] if text[start:end] in ("null", "true", "false", "") else f'"{MASK}"')
    return "".join([*shown, text[end:]])


def _unescaped(string: str) -> str:
    return str(_parsed(f'"{string}"') or string) if "\\" in string else string


def _end_of_value(text: str, start: int) -> int:
    if text[start : start + 1] not in ("{", "["):
        scalar = _SCALAR.match(text, start)
        return scalar.end() if scalar else start
    depth = 0
    for found in _BRACKET.finditer(text, start):
        depth += bool(found[1]) - bool(found[2])
        if depth == 0:
            return found.end()
    return len(text)


_SHORTEST = 4  # characters: shorter ones stand in every text by chance, and are only hidden under their names
_LONG = 8  # below, only whole words are masked
_BASE64 = 8  # characters of base64 that are no coincidence
_TELLS_NOTHING = frozenset({"true", "false", "null", "none", "undefined"})


class Secrets:
    """A set of secret values, to be hidden wherever they appear: raw, percent-encoded, JSON- and HTML-escaped, base64.

    >>> Secrets(["a/b+c=12"]).mask("?key=a%2Fb%2Bc%3D12&user=u")
    '?key=***&user=u'
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        """Know these values."""
        self._values: list[str] = []
        for value in values:
            self.add(value)

    def add(self, value: str) -> None:
        """Know one more; one of fewer than four characters would be found everywhere and is left out."""
        value = value.strip()
        if len(value) < _SHORTEST or value.lower() in _TELLS_NOTHING or not value.strip("*") or value in self._values:
            return
        self._values.append(value)
        self._values.sort(key=len, reverse=True)  # one that contains another is hidden whole

    def add_header(self, name: str, value: str) -> None:
        """Know what a header that carries a secret has: the key without its scheme, each value of a cookie."""
        if name.lower() in ("cookie", "set-cookie"):
            pairs = value.split(";") if name.lower() == "cookie" else [value.partition(";")[0]]
            for pair in pairs:
                self.add(pair.partition("=")[2].strip().strip('"'))
            return
        scheme, _, rest = value.strip().partition(" ")
        self.add(rest or scheme)
        if scheme.lower() == "basic":
            self.add(_password(rest))

    def __iter__(self) -> Iterator[str]:
        """Yield the values, the longest first."""
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def mask(self, text: str, by: str = MASK) -> str:
        """Return a text with `by` in place of every secret, however it is encoded there."""
        return self.mask_bytes(text.encode("utf-8", "surrogatepass"), by.encode()).decode("utf-8", "surrogatepass")

    def mask_bytes(self, data: bytes, by: bytes = MASK.encode()) -> bytes:
        """Return bytes with every secret masked; whether they are UTF-8 does not matter."""
        shown, end = [], 0
        for start, stop in sorted(self._find(data)):
            if start >= end:
                shown += [data[end:start], by]
            end = max(end, stop)
        return b"".join([*shown, data[end:]])

    def _find(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield where secrets stand: as they are, or below up to three layers of encodings."""
        layers: list[_Layer] = []
        encoded = _ENCODED_OUT_OF_NEED if all(map(_NEVER_ENCODED.fullmatch, self._values)) else _ENCODED
        while self._values:
            for found in chain.from_iterable(pattern.finditer(data) for v in self._values for pattern in _patterns(v)):
                yield _outside(layers, found.start()), _outside(layers, found.end())
            if len(layers) == _LAYERS or encoded.search(data) is None:
                return
            data, layer = _decode(data)
            layers.append(layer)

    def mask_json(self, value: Any) -> Any:
        """Return a JSON value with secrets masked in its texts and names, and whatever stands under a secret name."""
        try:
            return self._mask_json(value)
        except RecursionError:
            return MASK

    def _mask_json(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, list | tuple):
            return [self._mask_json(item) for item in value]
        if isinstance(value, dict):
            return {self.mask(str(name)): self._mask_field(str(name), inner) for name, inner in value.items()}
        return value

    def _mask_field(self, name: str, value: Any) -> Any:
        hidden = value is not None and not isinstance(value, bool) and value != "" and is_secret_name(name)
        return MASK if hidden else self._mask_json(value)


def _password(basic: str) -> str:
    """Return the password of `Authorization: Basic ...` (RFC 7617), '' where it cannot be read."""
    try:
        return base64.b64decode(basic + "==").decode("utf-8", "surrogateescape").partition(":")[2]
    except ValueError:
        return ""


@lru_cache(maxsize=1024)
def _patterns(value: str) -> tuple[re.Pattern[bytes], ...]:
    """Return what finds a value, also where a part of it that looks encoded has been decoded, and in base64."""
    raw = value.encode("utf-8", "surrogatepass")
    forms = [raw]
    for _ in range(_LAYERS):
        forms.append(_decode(forms[-1])[0])
    pattern = b"%b" if len(value) >= _LONG else rb"(?<![0-9A-Za-z])%b(?![0-9A-Za-z])"
    plain = [pattern % re.escape(form) for form in dict.fromkeys(forms) if form.strip() and _is_text(form)]
    return tuple(re.compile(form) for form in [*plain, *map(re.escape, _in_base64(raw))])


def _is_text(form: bytes) -> bool:
    try:
        return form.decode("utf-8", "surrogatepass") is not None
    except UnicodeDecodeError:  # it would be found in the middle of a character
        return False


def _in_base64(raw: bytes) -> set[bytes]:
    """Return what base64 of any text around a value has of it: three alignments, two alphabets."""
    parts = set()
    for before, start in ((0, 0), (1, 2), (2, 3)):  # bytes before it, and characters that these have a part in
        end = (before + len(raw)) * 8 // 6
        padded = bytes(before) + raw
        parts |= {base64.b64encode(padded)[start:end], base64.urlsafe_b64encode(padded)[start:end]}
    return {part for part in parts if len(part) >= _BASE64}


# Encodings

_LAYERS = 3  # JSON in JSON in a query
_ENCODED = re.compile(
    rb"%([0-9a-fA-F]{2})"
    rb"|\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})"
    rb"""|\\(["'\\/bfnrt])"""
    rb"|(&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|amp|lt|gt|quot|apos);)"
    rb"|\+"
)
"""A character that is percent-encoded, escaped in JSON or Python, or in HTML or XML; `+` may be a space."""
_NEVER_ENCODED = re.compile(rf"[A-Za-z0-9._~-]{{{_LONG},}}")
_ENCODED_OUT_OF_NEED = re.compile(rb"%(?:25)*(?:2[dDeE]|[3-7])|\\+[ux](?:00)?[2-7]|&#")
"""What a text has that encodes even such characters: most have not, and need no second look."""
_SHORT = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}


class _Layer(NamedTuple):
    """Places in decoded bytes, and the places in what was decoded that these belong to: at each end of a character."""

    inside: list[int]
    outside: list[int]


def _decode(data: bytes) -> tuple[bytes, _Layer]:
    parts: list[bytes] = []
    layer, end, size = _Layer([0], [0]), 0, 0
    for found in _ENCODED.finditer(data):
        meant = _meant(found)
        size += found.start() - end
        layer.inside.extend((size, size + len(meant)))
        layer.outside.extend(found.span())
        parts += (data[end : found.start()], meant)
        size, end = size + len(meant), found.end()
    return b"".join([*parts, data[end:]]), layer


def _meant(found: re.Match[bytes]) -> bytes:
    percent, high, low, unit, byte, short, entity = found.groups()
    if short:
        return _SHORT.get(short, short)
    if entity:
        return html.unescape(entity.decode()).encode("utf-8", "surrogatepass")
    if percent or byte:
        return bytes.fromhex((percent or byte).decode())
    if high or unit:
        units = bytes.fromhex((high + low if high else unit).decode())
        return units.decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")
    return b" "


def _outside(layers: list[_Layer], place: int) -> int:
    """Return where a place in the innermost layer is in the outermost bytes."""
    for layer in reversed(layers):
        index = bisect_right(layer.inside, place) - 1
        place = layer.outside[index] + place - layer.inside[index]
    return place
