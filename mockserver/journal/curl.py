"""An exchange of the journal as a command for a POSIX shell that sends it again."""

from __future__ import annotations

import re
import shlex
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flowcontract.output.curl import CurlCommand
from flowcontract.output.secret_texts import MASK
from flowcontract.schemas.media_types import is_upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mockserver.journal.entry import Entry

_MADE_BY_CURL = frozenset({"host", "content-length", "connection", "accept-encoding", "transfer-encoding", "expect"})
_AS_IN_A_PATH = "/:@!$&'()*+,;=~"


def to_curl(entry: Entry) -> str:
    """Return the command, with a comment above it where the body is not all there.

    A masked key is a shell variable named after its header, so that the command works once the variable is set:
    `AUTHORIZATION=app-chat`.
    """
    literal = ["-g"] if set("[]{}") & set(entry.query) else []  # else curl takes them for a range of addresses
    command = CurlCommand(*literal, *(["-N"] if entry.stream else []))
    if entry.method == "HEAD":
        command.add("-I")
    else:
        command.add_method(entry.method, implied="POST" if entry.content or entry.form else "GET")
    command.add(_build_url(entry))
    for name, value in entry.headers:
        if name.lower() not in _MADE_BY_CURL and not (entry.form is not None and name.lower() == "content-type"):
            command.add_header(name, value, quote=partial(_quote, variable=_name_variable(name)))
    _add_body(command, entry)
    return "".join(f"# {remark}\n" for remark in _list_remarks(entry)) + f"{command}\n"


def _build_url(entry: Entry) -> str:
    host = next((value for name, value in entry.headers if name.lower() == "host"), "localhost:8080")
    base = f"http://{host}{quote(entry.path, safe=_AS_IN_A_PATH)}"
    parts = (
        [_quote(part, _name_variable(part.partition("=")[0])) for part in entry.query.split("&")] if entry.query else []
    )
    return shlex.quote(base) + ("'?'" + "'&'".join(parts) if parts else "")


def _quote(text: str, variable: str) -> str:
    """Quote a word; what is masked in it becomes a shell variable, and stays masked where that is not set."""
    plain, mask, rest = text.rpartition(MASK)
    return shlex.quote(text) if not mask or rest else f'{shlex.quote(plain)}"${{{variable}:-{MASK}}}"'


def _name_variable(name: str) -> str:
    return re.sub(r"\W", "_", name).upper()


def _list_remarks(entry: Entry) -> Iterator[str]:
    if entry.cut:
        yield f"Only the first {len(entry.content)} of {entry.size} bytes of the body are kept."
    if entry.content and _as_text(entry) is None:
        yield "The body is no text and is left out."
    if any(is_upload(value) for _, value in _list_fields(entry)):
        yield "The bytes of files are not kept: put files of these names beside you."


def _as_text(entry: Entry) -> str | None:
    try:
        text = entry.content.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _add_body(command: CurlCommand, entry: Entry) -> None:
    """Add a body that is text, or the fields of a form."""
    if entry.content and (text := _as_text(entry)) is not None:
        command.add_raw_data(text)
    for name, value in _list_fields(entry):
        if is_upload(value):
            filename = PurePosixPath(value["filename"].replace("\\", "/")).name or "file"
            command.add_file_field(name, filename, value["content_type"])
        else:
            command.add_text_field(name, value)


def _list_fields(entry: Entry) -> list[tuple[str, Any]]:
    form = entry.form or {}
    return [(name, item) for name, value in form.items() for item in (value if isinstance(value, list) else [value])]
