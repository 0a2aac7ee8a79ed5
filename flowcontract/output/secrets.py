"""Masks known secrets in all output, whether raw, encoded or quoted."""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from flowcontract.output.encodings import LAYERS, decode, encodes_needlessly, find_outer_offset, is_encoded
from flowcontract.output.secret_names import is_secret_name
from flowcontract.output.secret_texts import MASK, TELLS_NOTHING, mask_text

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator

    from flowcontract.output.encodings import Layer

_SHORTEST = 4  # characters; shorter secrets occur by chance everywhere, and are only masked by their names
_PIECE = 10  # bytes of a secret that reveal something of it
_LONG = 8  # characters; of shorter secrets only whole words are masked
_NEVERENCODED = re.compile(rf"[A-Za-z0-9._~-]{{{_LONG},}}")
_BASE64 = 8  # characters of Base64 that do not match by chance


class Secrets:
    """A set of secret values, masked wherever they occur: raw, percent-encoded, JSON- or HTML-escaped, in Base64.

    >>> Secrets(["a/b+c=12"]).mask("?key=a%2Fb%2Bc%3D12&user=u")
    '?key=***&user=u'
    """

    def __init__(self, values: Iterable[str] = (), public: Container[str] = ()) -> None:
        """Begin with these values; keys that everybody knows are `public`."""
        self._public = public
        self._values: list[str] = []
        for value in values:
            self.add(value)

    def add(self, value: str) -> None:
        """Add a value, unless it has fewer than four characters, which would match everywhere."""
        value = value.strip()
        if len(value) < _SHORTEST or value.lower() in TELLS_NOTHING or not value.strip("*") or value in self._values:
            return
        self._values.append(value)
        self._values.sort(key=len, reverse=True)  # so that one that contains another is masked as a whole

    def add_header(self, name: str, value: str) -> None:
        """Add the secrets of a header: the key without its scheme, each value of a cookie."""
        for secret in find_values_in_header(name, value):
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
        for start, stop in self.find_spans(data, pieces=pieces):
            shown += [data[end:start], by]
            end = stop
        return b"".join([*shown, data[end:]])

    def find_spans(self, data: bytes, *, pieces: bool = False) -> Iterator[tuple[int, int]]:
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
        may_hide = encodes_needlessly if all(map(_NEVERENCODED.fullmatch, self._values)) else is_encoded
        while self._values:
            for start, end in chain.from_iterable(find(data, value) for value in self._values):
                yield find_outer_offset(layers, start), find_outer_offset(layers, end)
            if len(layers) == LAYERS or not may_hide(data):
                return
            data, layer = decode(data)
            layers.append(layer)

    def count_unfinished(self, data: bytes) -> int:
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
            return self.mask(mask_text(value, self._public))
        if isinstance(value, list | tuple):
            return [self._mask_json(item) for item in value]
        if isinstance(value, dict):
            return {self.mask(str(name)): self._mask_field(str(name), inner) for name, inner in value.items()}
        return value

    def _mask_field(self, name: str, value: Any) -> Any:
        hidden = value is not None and not isinstance(value, bool) and value != "" and is_secret_name(name)
        return MASK if hidden else self._mask_json(value)


def find_values_in_header(name: str, value: str) -> Iterator[str]:
    """Yield the secrets of a header: the key without its scheme, each value of a cookie."""
    value = value.strip()
    if name.lower() in ("cookie", "set-cookie"):
        pairs = value.split(";") if name.lower() == "cookie" else [value.partition(";")[0]]
        yield from (pair.partition("=")[2].strip().strip('"') for pair in pairs)
        return
    scheme, _, rest = value.partition(" ")
    yield rest.strip() or scheme
    if scheme.lower() == "basic":
        yield _decode_basic_password(rest)


def _decode_basic_password(basic: str) -> str:
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
            length = _count_common_prefix(data[start : start + len(form)], form)
            while length < len(form) and _is_continuation(form[length]):
                length -= 1
            yield start, start + length
            start += _PIECE
        end = len(data)
        while (found := data.rfind(tail, 0, end)) >= 0:
            end = found + _PIECE
            length = _count_common_prefix(data[max(0, end - len(form)) : end][::-1], form[::-1])
            while _is_continuation(form[-length]):
                length -= 1
            yield end - length, end
            end = found


_CONTINUATION = range(0x80, 0xC0)  # bytes of UTF-8 that begin no character (RFC 3629, 3)


def _is_continuation(byte: int) -> bool:
    return byte in _CONTINUATION


def _count_common_prefix(data: bytes, other: bytes) -> int:
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
    return [form for form in dict.fromkeys(forms) if form.strip() and _is_text(form)], sorted(_list_base64_forms(raw))


def _is_text(form: bytes) -> bool:
    try:
        return form.decode("utf-8", "surrogatepass") is not None
    except UnicodeDecodeError:  # it would match in the middle of a character
        return False


def _list_base64_forms(raw: bytes) -> set[bytes]:
    """Return the parts of Base64 that a value determines within any text: three alignments, two alphabets."""
    parts = set()
    for before, start in ((0, 0), (1, 2), (2, 3)):  # bytes before the value, and characters that they affect
        end = (before + len(raw)) * 8 // 6
        padded = bytes(before) + raw
        parts |= {base64.b64encode(padded)[start:end], base64.urlsafe_b64encode(padded)[start:end]}
    return {part for part in parts if len(part) >= _BASE64}
