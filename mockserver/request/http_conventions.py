"""What an API's servers do with HTTP itself: methods, preflights, slashes, keys, what comes twice; `x-http` as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - read at run time
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import quote

from werkzeug.datastructures import Headers

from flowcontract.errors import SpecError
from mockserver.http.messages import Reply

if TYPE_CHECKING:
    from mockserver.http.messages import Request

_AS_IN_A_PATH = "/:@!$&'()*+,;=~"


@dataclass(frozen=True, slots=True)
class Manners:
    """How a server behaves where no document says anything; the defaults are what HTTP itself suggests.

    ``head``              where there is GET: the same without the body, or a wrong method
    ``options``           without a preflight's headers: the path's methods, or a wrong method
    ``allow``             what `Allow` names: all methods of the path, or the one that the contract has first
    ``trailing_slash``    a path with a slash at its end: is the same, leads to the one without (307), or nowhere
    ``preflight``         status of the answer to a browser that asks first (https://fetch.spec.whatwg.org/#cors-preflight-fetch)
    ``preflight_body``    and its text
    ``preflight_methods`` the methods that it names: those of the path, or these
    ``credentials``       which of several keys counts: the first that came of these schemes; () for any valid one
    ``before_key``        what is told before a key that is missing or wrong: words of `x-refusals`
    ``query_commas``      a comma in a value of the query is part of it, or separates two values
    ``repeated``          a parameter or a file that comes twice: both are seen, or the last one alone
    ``untyped_body``      a body without a media type: is none of ours, or JSON
    ``wrong_body``        a body of another media type or with a wrong field: is refused, or as good as none
    ``file_names``        of a part of a form: also as `filename*` (RFC 6266, 4.3), or only as `filename`
    """

    head: Literal["get", "wrong-method"] = "get"
    options: Literal["allow", "wrong-method"] = "wrong-method"
    allow: Literal["all", "first"] = "all"
    trailing_slash: Literal["optional", "redirect", "unknown-path"] = "unknown-path"
    preflight: int = HTTPStatus.NO_CONTENT
    preflight_body: str = ""
    preflight_methods: Sequence[str] = ()
    credentials: Sequence[str] = ()
    before_key: Sequence[str] = ()
    query_commas: Literal["kept", "separate"] = "kept"
    repeated: Literal["both", "last"] = "both"
    untyped_body: Literal["unknown", "json"] = "unknown"
    wrong_body: Literal["refused", "dropped"] = "refused"
    file_names: Literal["extended", "plain"] = "extended"

    def read_query(self, query: dict[str, list[str]]) -> dict[str, list[str]]:
        """Return a query as these servers read it."""
        if self.query_commas == "separate":
            query = {name: [part for value in values for part in value.split(",")] for name, values in query.items()}
        return {name: values[-1:] for name, values in query.items()} if self.repeated == "last" else query

    def list_allowed(self, methods: tuple[str, ...]) -> tuple[str, ...]:
        """Return what `Allow` names for a path with these methods, in the order of the contract."""
        if self.allow == "first":
            return methods[:1]
        head = ("HEAD",) if self.head == "get" and "GET" in methods else ()
        options = ("OPTIONS",) if self.options == "allow" else ()
        return tuple(sorted({*methods, *head, *options}))


DEFAULT = Manners()


def read_manners(document: Mapping[str, Any], path: str = "") -> Manners:
    """Return what `x-http` of a contract says, or of one of its paths; raise SpecError for what it cannot say."""
    stated = {**document.get("x-http", {}), **(document["paths"][path].get("x-http", {}) if path else {})}
    stated.pop("x-observed", None)
    values: dict[str, Any] = {name.replace("-", "_"): value for name, value in stated.items()}
    for name, value in values.items():
        choices = _load_choices().get(name)
        if choices is None or (choices and value not in choices):
            known = "; ".join(f"{key}: {' or '.join(known) or '...'}" for key, known in _load_choices().items())
            raise SpecError(f"x-http cannot say {name}: {value}. It says {known}.")
    return Manners(**values)


@cache
def _load_choices() -> Mapping[str, tuple[str, ...]]:
    """Return what can be said, and the values that it can have; () where any can."""
    hints = get_type_hints(Manners)
    return {name: get_args(hint) if get_origin(hint) is Literal else () for name, hint in hints.items()}


def redirect(request: Request, path: str) -> Reply:
    """Send a client to another path of the same server, with method, body and query."""
    host = request.fields.get("host", "")
    query = f"?{request.query}" if request.query else ""
    location = f"{f'http://{host}' if host else ''}{quote(path, safe=_AS_IN_A_PATH)}{query}"
    return Reply(HTTPStatus.TEMPORARY_REDIRECT, Headers([("Location", location)]))


def tell_methods(allowed: tuple[str, ...]) -> Reply:
    """Answer OPTIONS."""
    headers = Headers([("Content-Type", "text/html; charset=utf-8"), ("Allow", ", ".join(allowed))])
    return Reply(HTTPStatus.OK, headers)
