"""Who may look behind the mock: this machine only, and no web page but our own through its browser."""

from __future__ import annotations

import hmac
import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from mockserver.http.messages import Request

_FORWARDED = re.compile(
    r".*forwarded.*|via|cdn-loop"
    r"|.*(?:client|connecting|real|remote|source|peer|viewer|external|originating|original|user|socket|pseudo)"
    r"[-_]?(?:connection-)?(?:ip|ipv[46]|addr|address|host)",
    re.IGNORECASE,
)
"""Headers by which proxies announce whom they ask for: `X-Forwarded-For`, `CF-Connecting-IP`, `Fly-Client-IP` ..."""
_FOREIGN = ("cross-site", "same-site")  # https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header


def explain_refusal(request: Request, token: str) -> str:
    """Return why a request may not look behind the mock, '' if it may.

    With a token, who sends it may, from everywhere, and nobody else. Without one it has to come from this machine:
    from a loopback address, to a host that is this machine (a name that was bound to it afterwards is not: DNS
    rebinding), from no web page but the mock's own, and through no proxy, which would hide where it comes from.
    """
    if token:
        sent = request.headers.get("Authorization", "").encode("utf-8", "replace")
        right = hmac.compare_digest(sent, f"Bearer {token}".encode())
        return "" if right else "the token of --admin-token is needed: Authorization: Bearer TOKEN"
    if not _is_loopback(request.peer):
        return f"it answers this machine only, and the request came from {request.peer or 'an unknown address'}"
    for name in request.fields:
        if _FORWARDED.fullmatch(name):
            return f"the request was forwarded ({name}), so nobody knows from where"
    host = request.headers.get("Host")
    if host is not None and not is_here(f"//{host}"):
        return f"the host {host} is not this machine"
    return _refuse_page(request, f"{request.scheme}://{host or ''}")


def _refuse_page(request: Request, own: str) -> str:
    """Return why the page that asks may not, '' if it is the mock's own, or no page asks."""
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower() != own.lower():
        return f"a page of {origin} may not ask, only one of {own}"
    looks = request.fields.get("sec-fetch-mode") == "navigate" and request.method in ("GET", "HEAD")  # at a link
    if request.fields.get("sec-fetch-site") in _FOREIGN and not looks:
        return "a page of another origin may not ask"  # an image there, for instance, which says no Origin
    return ""


def is_here(url: str) -> bool:
    """Tell whether a URL's host is this machine: localhost, or a loopback address."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return host == "localhost" or _is_loopback(host)


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback
