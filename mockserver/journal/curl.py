"""An exchange of the journal as a command for a POSIX shell that sends it again."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flowcontract.output.secrets import MASK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mockserver.journal.journal import Entry

_MADE_BY_CURL = frozenset({"host", "content-length", "connection", "accept-encoding", "transfer-encoding", "expect"})
_AS_IN_A_PATH = "/:@!$&'()*+,;=~"


def curl(entry: Entry) -> str:
    """Return the command, with a comment above it where the body is not all there.

    A masked key is a shell variable named after its header, so that the command works once the variable is set:
    `AUTHORIZATION=app-chat`.
    """
    literal = ["-g"] if set("[]{}") & set(entry.query) else []  # else curl takes them for a range of addresses
    words = ["curl", *literal, *(["-N"] if entry.stream else []), *_method(entry), _url(entry)]
    for name, value in entry.headers:
        if name.lower() not in _MADE_BY_CURL and not (entry.form is not None and name.lower() == "content-type"):
            words += ["-H", _word(f"{name}: {value}", _variable(name))]
    return "".join(f"# {remark}\n" for remark in _remarks(entry)) + " ".join([*words, *_body(entry)]) + "\n"


def _method(entry: Entry) -> list[str]:
    if entry.method == "HEAD":
        return ["-I"]
    implied = "POST" if entry.content or entry.form else "GET"
    return [] if entry.method == implied else ["-X", shlex.quote(entry.method)]


def _url(entry: Entry) -> str:
    host = next((value for name, value in entry.headers if name.lower() == "host"), "localhost:8080")
    base = f"http://{host}{quote(entry.path, safe=_AS_IN_A_PATH)}"
    parts = [_word(part, _variable(part.partition("=")[0])) for part in entry.query.split("&")] if entry.query else []
    return shlex.quote(base) + ("'?'" + "'&'".join(parts) if parts else "")


def _word(text: str, variable: str) -> str:
    """Quote a word; what is masked in it becomes a shell variable, and stays masked where that is not set."""
    plain, mask, rest = text.rpartition(MASK)
    return shlex.quote(text) if not mask or rest else f'{shlex.quote(plain)}"${{{variable}:-{MASK}}}"'


def _variable(name: str) -> str:
    return re.sub(r"\W", "_", name).upper()


def _remarks(entry: Entry) -> Iterator[str]:
    if entry.cut:
        yield f"Only the first {len(entry.content)} of {entry.size} bytes of the body are kept."
    if entry.content and _as_text(entry) is None:
        yield "The body is no text and is left out."
    if any(_is_file(value) for _, value in _fields(entry)):
        yield "The bytes of files are not kept: put files of these names beside you."


def _as_text(entry: Entry) -> str | None:
    try:
        text = entry.content.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _body(entry: Entry) -> Iterator[str]:
    if entry.content and (text := _as_text(entry)) is not None:
        yield f"--data-raw {shlex.quote(text)}"
    for name, value in _fields(entry):
        if _is_file(value):
            file = PurePosixPath(value["filename"].replace("\\", "/")).name or "file"
            quoted = re.sub(r'([\\"])', r"\\\1", file)
            part = f'{name}=@"{quoted}";type={value["content_type"]}'
            yield f"-F {shlex.quote(part)}"
        else:
            yield f"--form-string {shlex.quote(f'{name}={value}')}"


def _fields(entry: Entry) -> list[tuple[str, Any]]:
    form = entry.form or {}
    return [(name, each) for name, value in form.items() for each in (value if isinstance(value, list) else [value])]


def _is_file(value: Any) -> bool:
    return isinstance(value, dict) and "filename" in value
