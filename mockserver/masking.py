"""Keys, tokens and passwords -> `***`, before anything of a request is kept."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = "***"
_ALWAYS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
_TELLING = r"(?:[\w.-]*[_.-])?(?:api[_-]?key|token|secret|password|passwd)"
_NAME = re.compile(_TELLING, re.IGNORECASE)
_IN_JSON = re.compile(rf'("{_TELLING}"\s*:\s*)"(?:[^"\\]|\\.)*"?', re.IGNORECASE)


class Masking:
    """Knows which names carry a secret: those of a contract's security schemes, and those that tell it themselves."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        """Take the names of headers and query parameters that carry a key, in any case."""
        self._names = _ALWAYS | {name.lower() for name in names}

    def hides(self, name: str) -> bool:
        """Tell whether a header, a parameter or a field of this name carries a secret."""
        return name.lower() in self._names or _NAME.fullmatch(name) is not None

    def header(self, name: str, value: str) -> str:
        """Return a header's value as it may be shown; the scheme in `Bearer ***` is no secret."""
        if not self.hides(name):
            return value
        scheme, space, _ = value.partition(" ")
        return f"{scheme} {MASK}" if space and name.lower().endswith("authorization") else MASK

    def query(self, text: str) -> str:
        """Return a query string as it may be shown."""
        return "&".join(self._pair(pair) for pair in text.split("&"))

    def _pair(self, pair: str) -> str:
        name, equals, _ = pair.partition("=")
        return f"{name}={MASK}" if equals and self.hides(name) else pair

    def text(self, text: str) -> str:
        """Return JSON, or the beginning of it, with every string masked whose field tells that it is a secret."""
        return _IN_JSON.sub(rf'\1"{MASK}"', text)
