"""Fails where a built page would fetch anything from elsewhere: `python docs/self_contained.py FOLDER`."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FETCHING = {"src", "srcset", "poster", "data", "action", "background"}
_STYLE = re.compile(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")\s]+)")


class _Fetched(HTMLParser):
    """Collects the addresses that a browser asks for by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        names = _FETCHING | ({"href", "xlink:href"} if tag in ("link", "use", "image") else set())
        if tag == "link" and given.get("rel") in ("canonical", "license"):
            return
        self.found += [value for name, value in given.items() if name in names and _is_elsewhere(value)]


def fetched(folder: Path) -> Iterator[str]:
    """Yield `file: address` for everything that a page or style of a folder fetches from elsewhere."""
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".html", ".css", ".svg"):
            continue
        text = path.read_text(encoding="utf-8")
        addresses = _STYLE.findall(text)
        if path.suffix != ".css":
            page = _Fetched()
            page.feed(text)
            addresses += page.found
        yield from (f"{path}: {address}" for address in addresses)


def _is_elsewhere(address: str) -> bool:
    return address.startswith(("http://", "https://", "//"))


if __name__ == "__main__":
    problems = [*fetched(Path(sys.argv[1]))]
    sys.exit("\n".join(problems) if problems else 0)
