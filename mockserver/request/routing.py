"""Method, path and key -> the operation that answers, or which documented refusal it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map, Rule

from mockserver.request import credentials
from mockserver.request.http_conventions import DEFAULT, read_manners

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowcontract.specs.model import Api, Operation
    from mockserver.request.credentials import Keyring
    from mockserver.request.http_conventions import Manners


_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request leads.

    ``api``        the API whose base path it is under, None outside of all
    ``operation``  what answers; None where the path or the method is unknown
    ``path``       values of the path's parameters
    ``keyring``    its credentials as that API judges them
    ``owner``      the API whose app the key opens instead, and what the key ends with; None where there is none
    ``refused``    the words of `x-refusals` if it gets no further: unknown-path, wrong-method, no-key, wrong-key ...
    ``allowed``    what `Allow` names where the method is none of the path's
    ``manners``    what its servers do with HTTP itself
    ``moved``      the path that it is to ask instead; '' for none
    """

    api: Api | None
    operation: Operation | None = None
    path: Mapping[str, str] = field(default_factory=dict)
    keyring: Keyring = credentials.VALID_WITHOUT_KEY
    owner: tuple[str, str] | None = None
    refused: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    manners: Manners = DEFAULT
    moved: str = ""


class Router:
    """Knows the paths of all APIs. Several may share a base path; the key then tells which is meant."""

    def __init__(self, apis: Mapping[str, Api]) -> None:
        """Prepare the routes of some APIs."""
        self._apis = tuple(_Paths(api) for api in apis.values())
        schemes = [scheme for api in apis.values() for scheme in api.schemes.values()]
        self._headers = sorted({scheme.parameter.lower() for scheme in schemes if scheme.location == "header"})
        self._query = sorted({scheme.parameter for scheme in schemes if scheme.location == "query"})
        self._known = lru_cache(maxsize=4096)(self._find)  # most clients ask the same few things with the same key

    def route(self, method: str, path: str, headers: Mapping[str, str], query: Mapping[str, Sequence[str]]) -> Route:
        """Find what answers, by headers in lower case; never fails."""
        keys_sent = tuple((name, headers[name]) for name in self._headers if name in headers)
        keys_asked = tuple((name, tuple(query[name])) for name in self._query if name in query)
        if len(path) > _LONGEST or any(len(value) > _LONGEST for _, value in keys_sent):
            return self._find(method, path, keys_sent, keys_asked)  # large ones are not kept
        return self._known(method, path, keys_sent, keys_asked)

    def _find(
        self, method: str, path: str, keys_sent: tuple[tuple[str, str], ...], keys_asked: tuple[tuple[str, Any], ...]
    ) -> Route:
        headers, query = dict(keys_sent), dict(keys_asked)
        here = self._find_covering(path)
        if not here:
            return Route(None)
        owner = next((paths for paths in here if paths.build_keyring(headers, query).verdict == "valid"), None)
        others = [paths for paths in here if paths is not owner]
        found = [paths.find(method, path) for paths in ([owner] if owner else []) + others]
        best = min(found, key=lambda route: (route.operation is None, not route.allowed, not route.moved))
        if best.operation is None:
            return best
        assert best.api is not None
        keyring = credentials.check(best.api, best.operation.security, headers, query, best.manners.credentials)
        if keyring.verdict == "valid":
            return replace(best, keyring=keyring)
        if owner is None or best.api is owner.api:
            return replace(best, keyring=keyring, refused=keyring.words)
        elsewhere = (owner.api.name, owner.build_keyring(headers, query).suffix)
        return replace(best, keyring=keyring, owner=elsewhere, refused=("other-app", *keyring.words))

    def list_methods(self, path: str) -> tuple[str, ...]:
        """Return every method that some API has on a path, for a browser that asks before it sends."""
        return tuple(sorted({method for paths in self._find_covering(path) for method in paths.list_methods(path)}))

    def find_manners(self, path: str) -> Manners:
        """Return what the servers of a path do with HTTP itself."""
        return next((paths.manners for paths in self._find_covering(path)), DEFAULT)

    def _find_covering(self, path: str) -> list[_Paths]:
        return [paths for paths in self._apis if paths.covers(path)]


class _Paths:
    """The paths of one API."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.manners = read_manners(api.bundle)
        self._of_path = {path: read_manners(api.bundle, path) for path in api.bundle["paths"]}
        items = [(path, method.upper()) for path, item in api.bundle["paths"].items() for method in item]
        self._order = {place: number for number, place in enumerate(items)}
        rules = [self._build_rule(operation) for operation in api.operations.values()]
        self._map = Map(rules, redirect_defaults=False, merge_slashes=False).bind("mock")

    def _build_rule(self, operation: Operation) -> Rule:
        rule = Rule(
            self.api.base_path + operation.path.replace("{", "<").replace("}", ">"),
            endpoint=operation.id,
            methods=[operation.method],
            strict_slashes=self._of_path[operation.path].trailing_slash != "optional",
        )
        if rule.methods:  # Werkzeug adds HEAD to every GET
            rule.methods.discard("HEAD")
        return rule

    def covers(self, path: str) -> bool:
        """Tell whether a path is under this API's base path."""
        return path == self.api.base_path or path.startswith(f"{self.api.base_path}/")

    def build_keyring(self, headers: Mapping[str, str], query: Mapping[str, Sequence[str]]) -> Keyring:
        """Judge a request's credentials by the schemes of this API, each alone."""
        return credentials.check(self.api, [(name,) for name in self.api.schemes], headers, query)

    def find(self, method: str, path: str) -> Route:
        """Find a method on a path of this API, credentials aside."""
        if method == "HEAD" and self.manners.head == "get":
            method = "GET"
        try:
            name, values = self._map.match(path, method)
        except MethodNotAllowed:
            allowed = self.manners.list_allowed(self.list_methods(path))
            return Route(self.api, refused=("wrong-method",), allowed=allowed, manners=self.manners)
        except HTTPException:
            moved = path.rstrip("/") if path.endswith("/") and self.manners.trailing_slash == "redirect" else ""
            moved = moved if moved and self.list_methods(moved) else ""
            return Route(self.api, refused=("unknown-path",), manners=self.manners, moved=moved)
        operation = self.api.operations[name]
        return Route(self.api, operation, values, manners=self._of_path[operation.path])

    def list_methods(self, path: str) -> tuple[str, ...]:
        """Return the methods of a path, in the order of the contract."""
        names = {self._map.match(path, method)[0] for method in self._map.allowed_methods(path)}
        found = [self.api.operations[name] for name in names]
        return tuple(each.method for each in sorted(found, key=lambda each: self._order[each.path, each.method]))
