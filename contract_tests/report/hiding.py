"""What is told of a run, without its secrets: also without the pieces that are left of one where a text was cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowcontract.output.secrets import Secrets

_OURS = ("operation", "test")  # fields whose values are the contract's or the suite's, and by which reports are joined


def hide(text: str, secrets: Secrets) -> str:
    """Return a text without secrets, and without the beginnings and ends of any."""
    return secrets.mask(text, pieces=True) if len(secrets) else text


def hide_json(value: Any, secrets: Secrets) -> Any:
    """Return a JSON value with the secrets in its texts hidden; the names in it are ours."""
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
    """Writes to another stream, without secrets. What is written is held back until its line, or a flush."""

    def __init__(self, stream: TextIO, secrets: Secrets) -> None:
        """Write to a stream; secrets may be added later."""
        self._stream, self._secrets, self._held = stream, secrets, ""

    def write(self, text: str) -> int:
        """Take a text."""
        lines, newline, self._held = (self._held + text).rpartition("\n")
        if newline:
            self._stream.write(hide(lines + newline, self._secrets))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Take several texts."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Write everything."""
        self._stream.write(hide(self._held, self._secrets))
        self._held = ""
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        """Be what the other stream is, in everything else."""
        return getattr(self._stream, name)
