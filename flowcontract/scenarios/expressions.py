"""Expressions such as `$request.body#/user`, `$id.task`, `$faker.name`: parsed to functions, never run as code."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from flowcontract import pointers

if TYPE_CHECKING:
    from faker import Faker


_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RequestView:
    """A request as scenarios see it.

    ``method``   upper case
    ``path``     path parameters by name
    ``query``    query parameters by name: text, decoded values, or a list where one is repeated
    ``headers``  by lower-case name
    ``body``     parsed JSON, or form fields by name, an uploaded part as ``{filename, content_type, size}``;
                 None without one
    """

    method: str = "GET"
    path: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass(slots=True)
class Context:
    """The data for the expressions of one reply; make a new one for each reply.

    ``seed``       identifies the reply, for instance ``"0/app-chat/17"``; the same seed gives the same values; may be a
                   function, which is called once, and only where an expression needs it
    ``now``        the mock's clock, in epoch seconds
    ``violation``  `field`, `message`, `rule`, `location`; `entries`, `terse_entries` (as Pydantic tells it)
    ``world``      values from the behaviour
    ``app``        values from the app's configuration
    ``each``       the value of `$each`: the item for which an event is repeated
    ``ids``        name -> UUID; may be set before rendering, and read afterwards
    ``rendered``   the values that templates have cached for this reply
    """

    request: RequestView = field(default_factory=RequestView)
    seed: str | Callable[[], str] = "0"
    now: int = 0
    violation: Mapping[str, Any] = field(default_factory=dict)
    world: Mapping[str, Any] = field(default_factory=dict)
    app: Mapping[str, Any] = field(default_factory=dict)
    each: Any = None
    ids: dict[str, str] = field(default_factory=dict)
    rendered: dict[object, Any] = field(default_factory=dict)
    _faked: int = field(default=0, init=False)

    def fix_seed(self) -> str:
        """Return the seed, which stays what it is now."""
        if not isinstance(self.seed, str):
            self.seed = self.seed()
        return self.seed

    def derive_id(self, name: str) -> str:
        """Return the UUID that this reply has for a name."""
        if name not in self.ids:
            self.ids[name] = derive_uuid(f"{self.fix_seed()}/id/{name}")
        return self.ids[name]

    def call_faker(self, method: str) -> Any:
        """Return the value of a Faker method; it depends on the seed and on the number of values before it."""
        self._faked += 1
        return _call_faker(method, int.from_bytes(_hash(f"{self.fix_seed()}/faker/{self._faked}").digest()[:8]))


def _hash(text: str) -> hashlib._Hash:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass"))


def derive_uuid(text: str) -> str:
    """Return a UUID (version 4, RFC 9562) derived from a text."""
    return _write_uuid(_hash(text).hexdigest())


def derive_uuids(text: str) -> list[str]:
    """Return four UUIDs derived from a text, at the cost of deriving one."""
    digits = hashlib.sha512(text.encode("utf-8", "surrogatepass")).hexdigest()
    return [_write_uuid(digits[start : start + 32]) for start in range(0, 128, 32)]


def _write_uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:32]}"


_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


Render = Callable[[Context], Any]
"""A parsed expression: evaluates it for one reply."""


class UnknownExpressionError(Exception):
    """A text has the form of an expression, but is none; the message lists those that exist."""


def parse_expression(text: str, sample: Mapping[str, Any]) -> Render | None:
    """Parse a text that is one expression; return None for ordinary text; raise UnknownExpressionError.

    ``sample`` has the values of `$world.NAME` and `$app.NAME` for names that the context does not have.
    """
    match = _SHAPE.fullmatch(text)
    if match is None:
        return None
    root, rest = match["root"], match["rest"] or ""
    if match["mark"] == "+":
        if not _SECONDS.fullmatch(rest):
            raise _build_unknown_error(text, _FORMS["now"])
        seconds = int(rest)
        return lambda context: context.now + seconds
    if match["mark"] != "#" and root in ("world", "app"):
        return _parse_named(root, rest, sample)
    if match["mark"] != "#" and root in _ROOTS:
        return _ROOTS[root](text, rest)
    if root in _FORMS or match["mark"] == ".":
        raise _build_unknown_error(text, [form for forms in _FORMS.values() for form in forms])
    return None


def is_fixed(text: str) -> bool:
    """Tell whether an expression has the same value everywhere in one reply."""
    return text.startswith(("$id.", "$now", "$request", "$violation."))


def is_steady(text: str) -> bool:
    """Tell whether an expression has the same value for the same request to the same app."""
    return text.startswith(("$request", "$app.", "$violation."))


# `$root`, `$root.rest`, `$root#rest` or `$now+5`; anything else that begins with `$` (`$5.00`, `$ 3`, `${x}`) is text
_SHAPE = re.compile(r"\$(?P<root>[a-z]+)(?:(?P<mark>[.#]|(?<=now)\+)(?P<rest>\S+))?")


def _build_unknown_error(text: str, forms: list[str]) -> UnknownExpressionError:
    known = ", ".join(forms)
    return UnknownExpressionError(f'No expression "{text}". There is: {known}. Mend it, or leave out the "$".')


# A moment of the mock's clock, whose fractions of a second are always zero.
_CLOCK_FORMS = {
    "iso": "%Y-%m-%dT%H:%M:%SZ",
    "offset": "%Y-%m-%dT%H:%M:%S+00:00",
    "utc": "%Y-%m-%d %H:%M:%S UTC",
    "utc_us": "%Y-%m-%d %H:%M:%S.000000 UTC",
}
_FORMS = {
    "request": [
        "$request.method",
        "$request.path.NAME",
        "$request.query.NAME",
        "$request.header.NAME",
        "$request.body",
        "$request.body#/POINTER",
    ],
    "id": ["$id.NAME"],
    "now": ["$now", "$now+SECONDS", *(f"$now.{form}" for form in _CLOCK_FORMS)],
    "faker": ["$faker.METHOD"],
    "violation": [
        "$violation.field",
        "$violation.message",
        "$violation.rule",
        "$violation.location",
        "$violation.entries",
        "$violation.terse_entries",
    ],
    "world": ["$world.NAME"],
    "app": ["$app.NAME"],
    "each": ["$each"],
}


def _parse_request(text: str, rest: str) -> Render:
    part, _, name = rest.partition(".")
    if rest == "method":
        return lambda context: context.request.method
    if part == "path" and name:
        return lambda context: context.request.path.get(name)
    if part == "query" and name:
        return lambda context: context.request.query.get(name)
    if part == "header" and name:
        lower = name.lower()
        return lambda context: context.request.headers.get(lower)
    if rest == "body" or rest.startswith("body#/"):
        find = pointers.build_resolver(rest.removeprefix("body").removeprefix("#"))
        return lambda context: find(context.request.body)
    raise _build_unknown_error(text, _FORMS["request"])


def _parse_id(text: str, rest: str) -> Render:
    if not rest:
        raise _build_unknown_error(text, _FORMS["id"])
    return lambda context: context.derive_id(rest)


def _parse_now(text: str, rest: str) -> Render:
    if form := _CLOCK_FORMS.get(rest):
        return lambda context: datetime.fromtimestamp(context.now, UTC).strftime(form)
    if rest:
        raise _build_unknown_error(text, _FORMS["now"])
    return lambda context: context.now


_SECONDS = re.compile("[0-9]{1,9}")


def _parse_violation(text: str, rest: str) -> Render:
    if text not in _FORMS["violation"]:
        raise _build_unknown_error(text, _FORMS["violation"])
    return lambda context: context.violation.get(rest)


def _parse_each(text: str, rest: str) -> Render:
    if rest:
        raise _build_unknown_error(text, _FORMS["each"])
    return lambda context: context.each


def _parse_named(root: str, rest: str, sample: Mapping[str, Any]) -> Render:
    """Parse `$world.NAME` and `$app.NAME`; a dotted name leads into mappings and lists, and is null if absent."""
    if not rest:
        raise _build_unknown_error(f"${root}", _FORMS[root])
    first, *deeper = rest.split(".")
    find = pointers.build_resolver(pointers.join(deeper))
    instead = sample.get(first)
    return lambda context: find((context.world if root == "world" else context.app).get(first, instead))


def _parse_faker(text: str, rest: str) -> Render:
    if not _gives_json(rest):
        close = difflib.get_close_matches(rest, _list_faker_methods(), n=5) or ["name", "email", "sentence"]
        raise _build_unknown_error(text, [f"$faker.{name}" for name in close if _gives_json(name)])
    return lambda context: context.call_faker(rest)


_ROOTS: Mapping[str, Callable[[str, str], Render]] = {
    "request": _parse_request,
    "id": _parse_id,
    "now": _parse_now,
    "faker": _parse_faker,
    "violation": _parse_violation,
    "each": _parse_each,
}

# Providers whose values depend on today's date: the same seed would give other bytes tomorrow. Times have `$now`.
_CLOCK_BOUND = {"credit_card", "date_time", "passport", "profile", "python", "user_agent"}
_CLOCK_BOUND_METHODS = {"uuid1", "uuid7"}

_faker_lock = threading.Lock()


@cache
def _make_faker() -> Faker:
    from faker import Faker  # noqa: PLC0415 - its import takes a third of a second, and most replies need none of it

    return Faker()


def _call_faker(method: str, seed: int) -> Any:
    with _faker_lock:  # one generator for all threads, seeded before each value
        generator = _make_faker()
        generator.seed_instance(seed)
        return getattr(generator, method)()


@cache
def _list_faker_methods() -> frozenset[str]:
    """Return the names of Faker's provider methods that need no arguments and do not depend on the clock."""
    found: set[str] = set()
    for provider in _make_faker().factories[0].providers:
        if type(provider).__module__.split(".")[2] not in _CLOCK_BOUND:
            found |= {name for name, _ in inspect.getmembers(provider, _takes_no_argument)}
    return frozenset(name for name in found - _CLOCK_BOUND_METHODS if not name.startswith("_"))


def _takes_no_argument(member: object) -> bool:
    if not inspect.ismethod(member):
        return False
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(member).parameters.values()
    return all(parameter.default is not parameter.empty or parameter.kind in optional for parameter in parameters)


@cache
def _gives_json(method: str) -> bool:
    """Tell whether a name is one of Faker's methods and gives JSON; by trying, since types are not declared."""
    if method not in _list_faker_methods():
        return False
    try:
        json.dumps(_call_faker(method, 0))
    except Exception:  # noqa: BLE001 - methods that need a library which is not installed raise whatever they like
        return False
    return True
