"""Hides the secrets of a run, and the parts of a secret that are left where a text was cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowcontract.output.secrets import Secrets

_OURS = ("operation", "test")  # fields whose values come from the contract or the suite, and join reports


def hide(text: str, secrets: Secrets) -> str:
    """Return a text without secrets, and without beginnings and ends of them."""
    return secrets.mask(text, pieces=True) if len(secrets) else text


def hide_json(value: Any, secrets: Secrets) -> Any:
    """Return a JSON value with the secrets in its texts hidden; names of fields are not checked."""
    if not len(secrets):
        return value
    if isinstance(value, str):
        return hide(value, secrets)
    if isinstance(value, list | tuple):
        return [hide_json(item, secrets) for item in value]
    if isinstance(value, dict):
        return {name: inner if name in _OURS else hide_json(inner, secrets) for name, inner in value.items()}
    return value


class HidingStream:
    """Writes to another stream, without secrets. Output is buffered until the end of the line, or a flush."""

    def __init__(self, stream: TextIO, secrets: Secrets) -> None:
        """Wrap a stream; secrets may be added later."""
        self._stream, self._secrets, self._held = stream, secrets, ""

    def write(self, text: str) -> int:
        """Write a text, up to its last line break."""
        lines, newline, self._held = (self._held + text).rpartition("\n")
        if newline:
            self._stream.write(hide(lines + newline, self._secrets))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Write what is buffered."""
        self._stream.write(hide(self._held, self._secrets))
        self._held = ""
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        """Delegate everything else to the other stream."""
        return getattr(self._stream, name)
