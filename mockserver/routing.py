"""Method, path and key -> the operation that answers, or which documented refusal it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map, Rule

from mockserver import keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowcontract.specs import Api, Operation
    from mockserver.keys import Keyring


_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request leads.

    ``api``        the API whose base path it is under, None outside of all
    ``operation``  what answers; None where the path or the method is unknown
    ``path``       values of the path's parameters
    ``keyring``    its credentials as that API judges them
    ``refused``    the words of `x-problems` if it gets no further: unknown-path, wrong-method, no-key, wrong-key ...
    ``allowed``    the methods of the path, upper case
    """

    api: Api | None
    operation: Operation | None = None
    path: Mapping[str, str] = field(default_factory=dict)
    keyring: Keyring = keys.VALID_WITHOUT_KEY
    refused: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()


class Router:
    """Knows the paths of all APIs. Several may share a base path; the key then tells which is meant."""

    def __init__(self, apis: Mapping[str, Api]) -> None:
        """Prepare the routes of some APIs."""
        self._apis = tuple(_Paths(api) for api in apis.values())
        schemes = [scheme for api in apis.values() for scheme in api.schemes.values()]
        self._headers = sorted({one.parameter.lower() for one in schemes if one.location == "header"})
        self._query = sorted({one.parameter for one in schemes if one.location == "query"})
        self._known = lru_cache(maxsize=4096)(self._find)  # most clients ask the same few things with the same key

    def route(self, method: str, path: str, headers: Mapping[str, str], query: Mapping[str, Sequence[str]]) -> Route:
        """Find what answers, by headers in lower case; never fails. HEAD goes where GET goes."""
        keys_sent = tuple((name, headers[name]) for name in self._headers if name in headers)
        keys_asked = tuple((name, tuple(query[name])) for name in self._query if name in query)
        method = "GET" if method == "HEAD" else method
        if len(path) > _LONGEST or any(len(value) > _LONGEST for _, value in keys_sent):
            return self._find(method, path, keys_sent, keys_asked)  # large ones are not kept
        return self._known(method, path, keys_sent, keys_asked)

    def _find(
        self, method: str, path: str, keys_sent: tuple[tuple[str, str], ...], keys_asked: tuple[tuple[str, Any], ...]
    ) -> Route:
        headers, query = dict(keys_sent), dict(keys_asked)
        here = [paths for paths in self._apis if paths.covers(path)]
        if not here:
            return Route(None)
        owner = next((paths for paths in here if paths.owns_key(headers, query)), None)
        others = [paths for paths in here if paths is not owner]
        found = [paths.find(method, path) for paths in ([owner] if owner else []) + others]
        best = min(found, key=lambda route: (route.operation is None, not route.allowed))
        if best.operation is None:
            return best
        assert best.api is not None
        keyring = keys.check(best.api, best.operation.security, headers, query)
        refused: tuple[str, ...] = ()
        if keyring.verdict != "valid":
            refused = ("other-app", *keyring.words) if owner and best.api is not owner.api else keyring.words
        return Route(best.api, best.operation, best.path, keyring, refused, best.allowed)

    def methods(self, path: str) -> tuple[str, ...]:
        """Return every method that some API has on a path, for a browser that asks before it sends."""
        return tuple(
            sorted({method for paths in self._apis if paths.covers(path) for method in paths.find("", path).allowed})
        )


class _Paths:
    """The paths of one API."""

    def __init__(self, api: Api) -> None:
        self.api = api
        rules = [
            Rule(
                api.base_path + operation.path.replace("{", "<").replace("}", ">"),
                endpoint=operation.id,
                methods=[operation.method],
            )
            for operation in api.operations.values()
        ]
        for rule in rules:
            if rule.methods:  # Werkzeug adds HEAD to every GET; the application decides about HEAD itself
                rule.methods.discard("HEAD")
        strict = api.bundle.get("x-trailing-slash") != "optional"
        self._map = Map(rules, strict_slashes=strict, redirect_defaults=False, merge_slashes=False).bind("mock")

    def covers(self, path: str) -> bool:
        """Tell whether a path is under this API's base path."""
        return path == self.api.base_path or path.startswith(f"{self.api.base_path}/")

    def owns_key(self, headers: Mapping[str, str], query: Mapping[str, Sequence[str]]) -> bool:
        """Tell whether a request carries a valid key of this API."""
        alternatives = [(name,) for name in self.api.schemes]
        return keys.check(self.api, alternatives, headers, query).verdict == "valid"

    def find(self, method: str, path: str) -> Route:
        """Find a method on a path of this API, credentials aside."""
        try:
            name, values = self._map.match(path, method or "-")
        except MethodNotAllowed as error:
            return Route(self.api, refused=("wrong-method",), allowed=tuple(sorted(error.valid_methods or ())))
        except HTTPException:
            return Route(self.api, refused=("unknown-path",))
        return Route(self.api, self.api.operations[name], values)
