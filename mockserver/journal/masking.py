"""What of an exchange is a secret: by the names of headers, parameters and fields, and by what stands under them."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from flowcontract.output.secret_names import is_secret_name
from flowcontract.output.secret_texts import MASK, find_values_in_query, find_values_in_text, mask_query, mask_text
from flowcontract.output.secrets import Secrets, find_values_in_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_REMEMBERED = 512  # names, and headers of requests
_SHORT = 256  # characters of a text that is likely to come again
_KNOWN = 200  # secrets of one exchange that are masked wherever they stand again


_FORM_FIELD = re.compile(
    r'(^content-disposition:(?>[^\r\n]{0,300}?[;\s]name="?)([^"\r\n;]{1,200}+)[^\r\n]{0,1000}+\r?\n'
    r"(?:[^\r\n]{1,1000}+\r?\n){0,20}+\r?\n)(.*?)(?=\r?\n--|\Z)",
    re.DOTALL | re.IGNORECASE | re.MULTILINE,
)
"""A part of a multipart form: its head, its name, its value."""


class Masking:
    """Knows which names carry a secret: those of a contract's security schemes, and those that tell it themselves."""

    def __init__(self, names: Iterable[str] = (), public: Iterable[str] = ()) -> None:
        """Take names of headers and parameters that carry a key, in any case, and keys that everybody knows."""
        self._names = {name.lower() for name in names}
        self._public = frozenset(public)
        self.hides = lru_cache(maxsize=_REMEMBERED)(self._hides)
        self.of_head = lru_cache(maxsize=_REMEMBERED)(self._of_head)
        self._find_in_headers = lru_cache(maxsize=_REMEMBERED)(self._find_in_headers_anew)

    def _hides(self, name: str) -> bool:
        """Tell whether a header, a parameter or a field of this name carries a secret."""
        return name.lower() in self._names or is_secret_name(name)

    def mask_header(self, name: str, value: str) -> str:
        """Return a header's value as it may be shown; the scheme in `Bearer ***` is no secret."""
        if not self.hides(name):
            return _mask_short(value)
        scheme, space, _ = value.partition(" ")
        return f"{scheme} {MASK}" if space and name.lower().endswith("authorization") else MASK

    def mask_query(self, text: str) -> str:
        """Return a query string as it may be shown."""
        return mask_query(text, self.hides)

    def mask_body(self, text: str, media_type: str) -> str:
        """Return a body, or the beginning of it, as it may be shown."""
        if not text:
            return text
        if media_type.lower().startswith("multipart/"):
            text = _FORM_FIELD.sub(lambda part: f"{part[1]}{MASK}" if self.hides(part[2]) else part[0], text)
            return mask_text(text)
        return self.mask_query(text) if _is_query(text, media_type) else mask_text(text)

    def mask_form(self, form: Any) -> Any:
        """Return the fields of a form as they may be shown; what describes a file tells none."""
        if not isinstance(form, dict):
            return form
        return {name: self._mask_field(name, value) for name, value in form.items()}

    def _mask_field(self, name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._mask_field(name, item) for item in value]
        if not isinstance(value, str):
            return value
        return MASK if self.hides(name) else mask_text(value)

    def find_known(self, found: Iterable[str]) -> Secrets:
        """Return some of the secrets that were found, without those that the mock prints when it starts."""
        return Secrets(islice((value for value in found if value not in self._public), _KNOWN), self._public)

    def mask_quote(self, known: Secrets, text: str) -> str:
        """Return a text that quotes an exchange as it may be shown; a stream that is wrong is so at each event."""
        shown = _mask_short(text, self._public) if len(text) < _SHORT else mask_text(text, self._public)
        return mask_known(known, shown)

    def find_in_headers(self, headers: Iterable[tuple[str, str]]) -> Iterator[str]:
        """Yield the secrets of headers; the same clients send the same ones again and again."""
        yield from self._find_in_headers(tuple(headers))

    def _find_in_headers_anew(self, headers: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
        found = (find_values_in_header(*each) if self.hides(each[0]) else _find_in_short(each[1]) for each in headers)
        return tuple(chain.from_iterable(found))

    def _of_head(self, headers: tuple[tuple[str, str], ...], query: str) -> tuple[str, ...]:
        """Return the secrets of headers and query."""
        return tuple(value for value in (*self._find_in_headers(headers), *self.find_in_query(query)) if value)

    def find_in_query(self, text: str) -> Iterator[str]:
        """Yield the secrets of a query string."""
        return find_values_in_query(text, self.hides)

    def find_in_body(self, text: str, media_type: str) -> Iterator[str]:
        """Yield the secrets of a body."""
        if not text:
            return iter(())
        return chain(self.find_in_query(text) if _is_query(text, media_type) else (), find_values_in_text(text))

    def find_in_form(self, form: Any) -> Iterator[str]:
        """Yield the secrets of the fields of a form."""
        for name, value in form.items() if isinstance(form, dict) else ():
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str):
                    yield from [text] if self.hides(name) else find_values_in_text(text)


# The same clients send the same headers again and again.


def mask_known(known: Secrets, text: str) -> str:
    """Return a text without the secrets that are known of its exchange."""
    if not known:
        return text
    return _mask_values(tuple(known), text) if len(text) < _SHORT else known.mask(text)


@lru_cache(maxsize=2048)
def _mask_values(values: tuple[str, ...], text: str) -> str:
    return Secrets(values).mask(text)


@lru_cache(maxsize=512)
def _mask_short(text: str, public: frozenset[str] = frozenset()) -> str:
    return mask_text(text, public)


@lru_cache(maxsize=512)
def _find_in_short(text: str) -> tuple[str, ...]:
    return tuple(find_values_in_text(text))


def _is_query(text: str, media_type: str) -> bool:
    """Tell whether a text is urlencoded: it says so, or does not look like JSON, which is what the others are."""
    return "urlencoded" in media_type.lower() or text.lstrip()[:1] not in ("{", "[", '"')
