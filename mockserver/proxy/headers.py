"""What a gateway takes off and puts on: hop-by-hop headers, what the mock understood, where the request goes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from werkzeug.http import parse_list_header, parse_options_header

from mockserver.request.preferences import MARK, parse_prefer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mockserver.http.messages import Request

Pairs = tuple[tuple[str, str], ...]
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers of one connection alone (RFC 9110, 7.6.1); those that `Connection` names are so, too."""
_READABLE = ("gzip", "deflate", "identity")
"""Content codings that can be judged; others are not asked for."""
VIA = ("Via", "1.1 mockserver")
"""RFC 9110, 7.6.3: a gateway puts it on every request."""
_UNSENDABLE = re.compile(r"[\r\n\0]")
_DECODINGS = 3  # of a path, beyond that which HTTP asks for
_IN_PATH = "/:@!$&'()*+,;=~-._"


def end_to_end(headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the headers that are for the other end."""
    pairs = list(headers)
    named = {
        name.strip().lower() for key, value in pairs if key.lower() == "connection" for name in value.split(",")
    } - {"content-length", "host"}
    for name, value in pairs:
        if name.lower() not in _HOP_BY_HOP and name.lower() not in named:
            yield name, value


def build_request_headers(request: Request, host: str, size: int | None) -> Pairs:
    """Return the headers to send on, to `host`.

    ``size``  of a body that is there as a whole; None where it is sent as it comes, and framed as it came
    """
    found = [("Host", host)]
    for name, came in end_to_end(request.headers):
        lower = name.lower()
        if lower == "host" or (lower in ("content-length", "expect") and size is not None):
            continue
        if lower == "content-length" and "transfer-encoding" in request.fields:
            continue  # chunks count, and no server may take the length for the end of this request (RFC 9112, 6.3)
        value = _REWRITTEN[lower](came) if lower in _REWRITTEN else came
        if value or not came:
            found.append((name, _UNSENDABLE.sub(" ", value)))
    if size is not None and (size or "content-length" in request.fields or "transfer-encoding" in request.fields):
        found.append(("Content-Length", str(size)))
    elif size is None and "transfer-encoding" in request.fields:
        found.append(("Transfer-Encoding", "chunked"))
    return (*found, VIA)


def remove_ours(prefer: str) -> str:
    """Return a `Prefer` header without the preferences that the mock understands (RFC 7240, 2)."""
    if parse_prefer(prefer) is None:
        return prefer
    kept = []
    for item in parse_list_header(prefer):
        name = parse_options_header(item)[0].partition("=")[0].strip().lower()
        if name not in ("code", "example", "fault"):
            kept.append(item)
    return ", ".join(kept)


def choose_codings(accepted: str) -> str:
    """Return an `Accept-Encoding` that asks for nothing that cannot be judged."""
    items = [item.strip() for item in accepted.split(",")]
    kept = [item for item in items if item.partition(";")[0].strip().lower() in _READABLE]
    return ", ".join(kept) or "identity"


_REWRITTEN = {"prefer": remove_ours, "accept-encoding": choose_codings}
"""Headers of which a part may be for the proxy alone."""


def build_request_target(request: Request, base_path: str, path: str) -> str:
    """Return what to ask a server for: its own base path, then the rest of the path and the query, as they came."""
    raw, mark, query = (request.target or _quote_target(request)).partition("?")
    if "://" in raw and not raw.startswith("/"):  # http://host/path
        raw = "/" + raw.partition("://")[2].partition("/")[2]
    if not raw.startswith(base_path):
        raw = quote(request.path, safe=_IN_PATH)
    rest = raw[len(base_path) :]
    return f"{path}{rest}{mark}{remove_suffix(query)}" or "/"


def _quote_target(request: Request) -> str:
    return f"{quote(request.path, safe=_IN_PATH)}?{request.query}" if request.query else quote(request.path, _IN_PATH)


def remove_suffix(query: str) -> str:
    """Return a query without what a `user` asks of the mock."""
    if "mock" not in query:
        return query
    parts = []
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        text = unquote(value.replace("+", " "))
        parts.append(f"{name}{equals}{quote(text.partition(MARK)[0])}" if name == "user" and MARK in text else part)
    return "&".join(parts)


def escapes_base(path: str, base_path: str) -> bool:
    """Tell whether a decoded path leaves the base path by dot segments, which a server may resolve.

    Some servers decode more than once, and some leave out what stands behind a semicolon (RFC 3986, 3.3).
    """
    rest, depth = path[len(base_path) :], 0
    for _ in range(_DECODINGS):
        rest = unquote(rest)
    for segment in rest.replace("\\", "/").split("/"):
        name = segment.partition(";")[0]
        depth += -1 if name == ".." else (name not in ("", "."))
        if depth < 0:
            return True
    return False
