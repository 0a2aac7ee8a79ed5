"""The page for people, at `/` and `/__mock__/ui`: files that hold no data; what it shows it asks `/__mock__` for."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from werkzeug.datastructures import Headers
from werkzeug.http import parse_accept_header

from mockserver.http.messages import Reply

if TYPE_CHECKING:
    from mockserver.http.messages import Request

PATH = "/__mock__/ui"
_FOLDER = Path(__file__).parents[1] / "ui"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = MappingProxyType(
    {
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }
)
"""What a browser is told of each file: it loads nothing from elsewhere, and nobody puts the page into theirs."""


def find_file(request: Request) -> str:
    """Return the file of the page that a request is for, '' if it is for none."""
    if request.method not in ("GET", "HEAD"):
        return ""
    path = request.path
    if path == "/":
        return "index.html" if _wants_page(request) else ""
    if path.rstrip("/") == PATH:
        return "index.html"
    name = path.removeprefix(f"{PATH}/")
    return name if name != path and name in _read_files() else ""


def make_reply(request: Request, name: str) -> Reply:
    """Return a file of the page."""
    content = _read_files()[name]
    if name == "index.html":
        here = "__mock__/ui/" if request.path == "/" else "" if request.path.endswith("/") else "ui/"
        content = content.replace(b"{files}", here.encode())
    kind = _TYPES[Path(name).suffix]
    charset = "" if kind == "image/svg+xml" else "; charset=utf-8"
    return Reply(200, Headers([("Content-Type", f"{kind}{charset}"), *HEADERS.items()]), content)


def _wants_page(request: Request) -> bool:
    """Tell whether a request asks for HTML by its name, as browsers do; programs ask for anything, or for JSON."""
    accepted = parse_accept_header(request.headers.get("Accept", ""))
    return any(name == "text/html" and quality for name, quality in accepted)


@cache
def _read_files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES}
