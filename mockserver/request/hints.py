"""What a wrong request probably meant, for who writes a client: beside the API's own answer, never instead of it."""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from flowcontract.output.printable import make_printable
from flowcontract.pointers import escape
from flowcontract.schemas.media_types import JSON
from mockserver.request import credentials
from mockserver.request.preferences import PREFERENCES, read_preferences

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from werkzeug.datastructures import Headers

    from flowcontract.specs.model import Api, Operation, SecurityScheme
    from mockserver.http.messages import Request
    from mockserver.request.body import Body
    from mockserver.request.refusals import Refusal
    from mockserver.request.routing import Route

HEADER = "X-Mock-Hint"
_MOST = 5  # hints of one request
_LONGEST = 300  # characters of one
_LONGEST_NAME = 60  # of a name, of which nobody has a longer one
_LONGEST_PATH = 200
_LOOKED_AT = 64 << 10  # bytes of a body
_CLOSE = 0.75
_VERY_CLOSE = 0.9  # where another method would be needed as well
_DEPTH = 4  # objects within objects of a body that are looked into
_ITEMS = 20  # of a list
_FORM = "application/x-www-form-urlencoded"
_POSITION = re.compile(r"line (\d+) column (\d+)")
_PAIR = re.compile(rb"[\w.%+-]{1,60}=")
_ABOUT_KEYS = ("no-key", "wrong-key", "other-app")


class _Place(NamedTuple):
    """An operation and the paths that lead to it, with the base path and without."""

    api: Api
    operation: Operation
    full: str
    pattern: re.Pattern[str]


class Hints:
    """Knows what there is to ask: compares with it what came."""

    def __init__(self, apis: Mapping[str, Api]) -> None:
        """Know some APIs."""
        self._apis = apis
        self._places = [_build_place(api, operation) for api in apis.values() for operation in api.operations.values()]
        self._fields = lru_cache(maxsize=None)(self._read_fields)
        self._path_hint = lru_cache(maxsize=1024)(self._tell_path)

    def explain(
        self,
        request: Request,
        route: Route,
        refusal: Refusal | None = None,
        body: Body | None = None,
        query: Mapping[str, Sequence[str]] | None = None,
    ) -> list[str]:
        """Return what to mend: of a refused request why, and of any what it says that the contract does not know."""
        operation = route.operation
        hints: list[str] = []
        if refusal is not None:
            hints += self._explain_refusal(request, route, refusal, query or {})
        if operation is not None and body is not None and isinstance(body.value, dict) and operation.request:
            hints += self._explain_fields(operation, body.media_type, body.value)
        if operation is not None and query:
            known = [parameter.name for parameter in operation.parameters if parameter.location == "query"]
            hints += _find_misspelt(query, known, "query parameter")
        if prefer := request.fields.get("prefer"):
            hints += _find_misspelt(read_preferences(prefer), PREFERENCES, "preference")
        return hints[:_MOST]

    def _explain_refusal(
        self, request: Request, route: Route, refusal: Refusal, query: Mapping[str, Sequence[str]]
    ) -> Iterator[str]:
        operation, words = route.operation, refusal.words
        if operation is None:
            yield self._path_hint(request.method, request.path)
        elif set(words) & set(_ABOUT_KEYS):
            yield self._explain_key(request, route, query)
        elif words[-1] == "wrong-media-type":
            yield _explain_media_type(request, operation)
        elif words[-1] == "malformed-body":
            yield _explain_malformed(request, refusal)
        else:
            yield refusal.violation["message"]

    # Paths

    def _tell_path(self, method: str, path: str) -> str:
        """Say which path or method was probably meant."""
        if len(path) > _LONGEST_PATH:
            return f"no operation {method} on a path of {len(path)} characters"
        there = dict.fromkeys(place.operation.method for place in self._places if place.pattern.fullmatch(path))
        if there:
            return f"no operation {method} {path}; this path takes {_join_names(there)}"
        if based := self._explain_base(method, path):
            return based
        asked = f"no operation {method} {path}"
        for other in (path.rstrip("/"), f"{path}/"):
            if any(place.pattern.fullmatch(other) for place in self._places):
                return f"{asked}; did you mean {other}?"
        candidates = {_fill_template(place.full, path): place for place in self._places}
        same = [key for key, place in candidates.items() if place.operation.method == method]
        close = get_close_matches(path, same, n=1, cutoff=_CLOSE) or get_close_matches(
            path, candidates, n=1, cutoff=_VERY_CLOSE
        )
        if not close:
            bases = _join_names(dict.fromkeys(api.base_path for api in self._apis.values()))
            return f"{asked}; the paths of the APIs here begin with {bases}"
        verb = candidates[close[0]].operation.method
        methods = {place.operation.method for place in self._places if place.full == candidates[close[0]].full}
        return f"{asked}; did you mean {close[0] if method in methods else f'{verb} {close[0]}'}?"

    def _explain_base(self, method: str, path: str) -> str:
        """Say what the path lacks, or has too much, where the rest of it leads somewhere."""
        segments = path.split("/")[1:]
        for start in range(min(len(segments), _DEPTH)):
            tail = "/" + "/".join(segments[start:])
            found = [p for p in self._places if p.pattern.fullmatch(p.api.base_path + tail)]
            if found:
                place = min(found, key=lambda p: p.operation.method != method)
                base, verb = place.api.base_path, place.operation.method
                wanted = f"{'' if verb == method else f'{verb} '}{base}{tail}"
                if not start:
                    return f"the path lacks {base}: ask {wanted}"
                return f"no operation {method} {path}; did you mean {wanted}?"
        return ""

    # Keys

    def _explain_key(self, request: Request, route: Route, query: Mapping[str, Sequence[str]]) -> str:
        api, operation = route.api, route.operation
        assert api is not None
        assert operation is not None
        owner, key = self._find_owner(api, request, query)
        if owner is not None:
            mine, other = _name_apis(api, owner)
            return f"the key {key} opens {other}, and {operation.path} belongs to {mine}"
        scheme = route.keyring.scheme or next(iter(api.schemes.values()))
        sent = request.fields.get(scheme.parameter.lower()) if scheme.location == "header" else None
        wrong = _explain_scheme(scheme, sent) if sent is not None else ""
        if not wrong and route.keyring.verdict == "missing":
            elsewhere = _stands_elsewhere(scheme, request, query)
            wrong = "the key stands where this API does not look" if elsewhere else "no key came"
        wrong = wrong or f"this key opens nothing here, and {scheme.mock_key} does, also with a suffix of your own"
        if scheme.location == "query":
            return f"{wrong}: send `?{scheme.parameter}={scheme.mock_key}`"
        return f"{wrong}: send the header `{scheme.parameter}: {scheme.prefix}{scheme.mock_key}`"

    def _find_owner(self, api: Api, request: Request, query: Mapping[str, Sequence[str]]) -> tuple[Api | None, str]:
        """Return whose key came, if it is that of another API, and that key without its suffix."""
        for other in self._apis.values():
            for name, scheme in other.schemes.items():
                ring = credentials.check(other, [(name,)], request.fields, query)
                is_its = ring.verdict == "valid" or _stands_elsewhere(scheme, request, query)
                if other is not api and scheme.mock_key and is_its:
                    return other, scheme.mock_key
        return None, ""

    # Fields

    def _explain_fields(self, operation: Operation, media_type: str, value: Mapping[str, Any]) -> list[str]:
        fields = self._fields(operation, media_type, "")
        hints = self._explain_unknown(operation, media_type, value, fields, "")
        if "stream" in value and "stream" not in fields and value["stream"] in (True, "true"):
            hints = [hint for hint in hints if not hint.startswith("`stream`")]
            hints += _explain_streaming(operation)
        return hints

    def _explain_unknown(
        self, operation: Operation, media_type: str, value: Mapping[str, Any], fields: Mapping[str, str], where: str
    ) -> list[str]:
        hints = [] if value.keys() <= fields.keys() else _find_misspelt(value, list(fields), "field", where)
        for name, pointer in fields.items():
            inner = value.get(name) if pointer and where.count(".") < _DEPTH else None
            for item in inner[:_ITEMS] if isinstance(inner, list) else (inner,):
                if isinstance(item, dict):
                    known = self._fields(operation, media_type, pointer)
                    hints += self._explain_unknown(operation, media_type, item, known, f"{where}{name}.")
        return hints

    def _read_fields(self, operation: Operation, media_type: str, pointer: str) -> Mapping[str, str]:
        """Return the fields of a body, or of an object in it at `pointer`, each with the pointer to its own, or ''.

        For a list it is the pointer to its items.
        """
        media = operation.request.get(media_type) or next(iter(operation.request.values()))
        validators = self._apis[operation.api].validators
        if not media.pointer:
            return {}
        fields: dict[str, str] = {}
        for name, step in validators.find_form_fields(pointer or media.pointer).items():
            inner = step
            if isinstance(step.schema, dict) and "items" in step.schema:
                inner = validators.follow(f"{step.pointer}/{escape('items')}")
            fields[name] = inner.pointer if validators.find_form_fields(inner.pointer) else ""
        return fields


def put(headers: Headers, hints: Sequence[str]) -> None:
    """Add the hints to an answer, in one header."""
    if hints:
        headers[HEADER] = "; ".join(map(_make_plain, hints))


def _make_plain(hint: str) -> str:
    """Return a hint as a line of printable ASCII that is not too long: what a header can carry (RFC 9110, 5.5)."""
    line = make_printable(hint).encode("ascii", "backslashreplace").decode("ascii")
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 4]} ..."


def _build_place(api: Api, operation: Operation) -> _Place:
    full = api.base_path + operation.path
    parts = re.split(r"\{\w+\}", full)
    return _Place(api, operation, full, re.compile("[^/]+".join(map(re.escape, parts))))


def _fill_template(template: str, path: str) -> str:
    """Return a template with the segments of a path where it has parameters, if both have as many."""
    wanted, given = template.split("/"), path.split("/")
    if len(wanted) != len(given):
        return template
    return "/".join(b if a.startswith("{") else a for a, b in zip(wanted, given, strict=True))


def _join_names(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def _name_apis(api: Api, other: Api) -> tuple[str, str]:
    """Name two APIs: by what tells them apart where they are apps of one server, `the chat app`."""
    if api.base_path != other.base_path:
        return api.name, other.name
    mine, others = api.name.split("-"), other.name.split("-")
    while len(mine) > 1 and len(others) > 1 and mine[0] == others[0]:
        mine, others = mine[1:], others[1:]
    return f"the {'-'.join(mine)} app", f"the {'-'.join(others)} app"


def _explain_scheme(scheme: SecurityScheme, sent: str) -> str:
    """Say what is wrong with a header before its key comes; '' for nothing."""
    wanted, (kind, space, rest) = scheme.prefix.strip(), sent.strip().partition(" ")
    if not kind:
        return f"the header {scheme.parameter} is empty"
    if wanted and kind.lower() != wanted.lower():
        return f"the header {scheme.parameter} {f'has another scheme than {wanted}' if space else 'names no scheme'}"
    twice = wanted and rest.lower().startswith(f"{wanted.lower()} ")
    return f"the header {scheme.parameter} names its scheme twice" if twice else ""


def _stands_elsewhere(scheme: SecurityScheme, request: Request, query: Mapping[str, Sequence[str]]) -> bool:
    """Tell whether a request has the right key in another header, or in the query."""
    texts = [*request.fields.values(), *(text for values in query.values() for text in values)]
    return any(credentials.opens(scheme.mock_key, word) for text in texts for word in text.split())


def _find_misspelt(given: Iterable[str], known: Sequence[str], what: str, where: str = "") -> list[str]:
    """Return a hint for each name that is none, but is close to one, if possible to one that did not come."""
    names = set(given)
    by_bare = {_strip_spelling(name): name for name in sorted(known, key=lambda name: name not in names)}
    missing = [bare for bare, name in by_bare.items() if name not in names]
    hints: list[str] = []
    for name in given:
        if name in known or len(name) > _LONGEST_NAME or len(hints) == _MOST:
            continue
        bare = _strip_spelling(name)
        meant = _find_closest(bare, tuple(missing)) or _find_closest(bare, tuple(by_bare))
        if meant:
            hints.append(f"`{where}{name}` is no {what}; did you mean `{where}{by_bare[meant]}`?")
    return hints


@lru_cache(maxsize=1024)
def _find_closest(name: str, known: tuple[str, ...]) -> str:
    return next(iter(get_close_matches(name, known, n=1, cutoff=_CLOSE)), "")


def _strip_spelling(name: str) -> str:
    """Return a name without what spellings differ in: `responseMode`, `response-mode`, `response_mode`."""
    return re.sub(r"[\W_]", "", name).lower()


def _explain_streaming(operation: Operation) -> list[str]:
    when = (operation.stream.spec.get("when") or {}) if operation.stream else {}
    asked = [f"`{name}: {json.dumps(value)}`" for name, value in when.get("body", {}).items()]
    asked += [f"`?{name}={value}`" for name, value in when.get("query", {}).items()]
    if asked:
        return [f"`stream` is no field; a stream is asked for by {' and '.join(asked)}"]
    return [] if operation.stream else ["`stream` is no field, and this operation has no stream"]


def _guess_form(body: bytes) -> str:
    """Tell what a body is by how it begins: JSON, a form, or '' for neither."""
    start = body.lstrip()
    if start[:1] in (b"{", b"["):
        return "JSON"
    return "a form" if _PAIR.match(start) or start.startswith(b"--") else ""


def _read_beginning(request: Request) -> bytes:
    with request.body.open() as reader:
        return reader.read(_LOOKED_AT)


def _explain_media_type(request: Request, operation: Operation) -> str:
    sent, wanted = request.fields.get("content-type", ""), list(operation.request)
    said = f"Content-Type says {sent.partition(';')[0].strip()[:_LONGEST_NAME]}" if sent else "no Content-Type came"
    looks = _guess_form(_read_beginning(request))
    takes_json = any(JSON in name for name in wanted)
    if looks == "JSON" and takes_json:
        return f"the body is JSON, and {said}: send `Content-Type: {JSON}`"
    if looks:
        return f"the body is {looks}, and {said}; {operation.id} takes {_join_names(wanted)}"
    return f"{said}; {operation.id} takes {_join_names(wanted)}"


def _explain_malformed(request: Request, refusal: Refusal) -> str:
    message = str(refusal.violation["message"])
    said = request.fields.get("content-type", "").partition(";")[0].strip()[:_LONGEST_NAME]
    looks, is_json = _guess_form(_read_beginning(request)), "json" in said.lower()
    if looks and said and is_json != (looks == "JSON"):
        return f"the body is {looks}, and Content-Type says {said}"
    if position := _POSITION.search(message):
        reason = message.partition("the body is no JSON: ")[2].partition(": line")[0]
        why = f" ({reason})" if reason else ""
        return f"the body is no JSON: line {position[1]}, column {position[2]}{why}"
    if "without a boundary" in message:
        return f"{message}: leave Content-Type to your HTTP library"
    return message
