"""A request as a `curl` command for a POSIX shell, put together in the order in which its parts are given."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class CurlCommand:
    """Collects the words of one command; each text that comes from the request is quoted by `quote`.

    >>> command = CurlCommand("-N")
    >>> command.add_url("http://localhost/v1/info")
    >>> command.add_header("Authorization", "Bearer app-chat")
    >>> str(command)
    "curl -N http://localhost/v1/info -H 'Authorization: Bearer app-chat'"
    """

    def __init__(self, *options: str, quote: Callable[[str], str] = shlex.quote) -> None:
        """Begin with options of curl, which are written as they stand."""
        self._words = ["curl", *options]
        self._quote = quote

    def add_method(self, method: str, *, implied: str) -> None:
        """Add the method, unless it is the one that curl sends without being told."""
        if method != implied:
            self._words += ["-X", shlex.quote(method)]

    def add_url(self, url: str) -> None:
        """Add the URL."""
        self._words.append(self._quote(url))

    def add_header(self, name: str, value: str, *, quote: Callable[[str], str] | None = None) -> None:
        """Add a header, quoted in a way of its own if need be."""
        self._words += ["-H", (quote or self._quote)(f"{name}: {value}")]

    def add_json(self, value: Any) -> None:
        """Add a JSON body with its Content-Type."""
        self.add_header("Content-Type", "application/json")
        self._words += ["-d", self._quote(json.dumps(value, ensure_ascii=False))]

    def add_raw_data(self, text: str) -> None:
        """Add a body that is sent as it is, even if it begins with `@`."""
        self._words += ["--data-raw", self._quote(text)]

    def add_form_field(self, name: str, value: Any) -> None:
        """Add a field of a form; a value that begins with `@` names a file, as in the documents' own commands."""
        self._words += ["-F", self._quote(f"{name}={value}")]

    def add_text_field(self, name: str, text: str) -> None:
        """Add a field of a form that is sent as it is, even if it begins with `@` or `<`."""
        self._words += ["--form-string", self._quote(f"{name}={text}")]

    def add_file_field(self, name: str, filename: str, content_type: str) -> None:
        """Add a field of a form that sends a file."""
        escaped = re.sub(r'([\\"])', r"\\\1", filename)
        self._words += ["-F", self._quote(f'{name}=@"{escaped}";type={content_type}')]

    def add(self, *words: str) -> None:
        """Add words that are already written as a shell reads them."""
        self._words += words

    def __str__(self) -> str:
        """Return the command."""
        return " ".join(self._words)


def quote_with_variables(text: str, variables: Mapping[str, str]) -> str:
    r"""Quote a text for a shell; each key of `variables` that stands in it becomes the shell variable of that name.

    >>> quote_with_variables("Authorization: Bearer \x00", {"\x00": "KEY"})
    '"Authorization: Bearer $KEY"'
    """
    if not any(placeholder in text for placeholder in variables):
        return shlex.quote(text)
    escaped = re.sub(r'[\\"$`]', r"\\\g<0>", text)
    for placeholder, name in variables.items():
        escaped = escaped.replace(placeholder, f"${name}")
    return f'"{escaped}"'
