"""`$request.body#/user`, `$id.task`, `$faker.name` in a scenario -> values; parsed once, never evaluated as code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RequestView:
    """What a scenario may see of a request.

    ``method``   upper case
    ``path``     path parameters by name
    ``query``    query parameters by name: text, decoded values, or a list where one is repeated
    ``headers``  by lower-case name
    ``body``     parsed JSON, or form fields by name; an uploaded part is ``{filename, content_type, size}``; None without one
    """

    method: str = "GET"
    path: Mapping[str, Any] = _NOTHING
    query: Mapping[str, Any] = _NOTHING
    headers: Mapping[str, str] = _NOTHING
    body: Any = None


@dataclass(slots=True)
class Context:
    """Everything the expressions of one reply may ask for; make a new one for each reply.

    ``seed``       whatever tells this reply from others, for instance ``"0/app-chat/17"``; the same seed gives the same values
    ``now``        the mock's clock, in epoch seconds
    ``violation``  `field`, `message`, `rule`, `location`
    ``world``      what the behaviour knows
    ``app``        what the app's configuration says
    ``ids``        name -> UUID; put one in to fix it, read it afterwards to learn which ids the reply carries
    """

    request: RequestView = RequestView()
    seed: str = "0"
    now: int = 0
    violation: Mapping[str, Any] = _NOTHING
    world: Mapping[str, Any] = _NOTHING
    app: Mapping[str, Any] = _NOTHING
    ids: dict[str, str] = field(default_factory=dict)

    def id(self, name: str) -> str:
        """Return the UUID that this reply has for a name."""
        raise NotImplementedError

    def faker(self, method: str) -> Any:
        """Return what Faker's method returns; the values depend on the seed and on how many were asked for before."""
        raise NotImplementedError


class Template:
    """A value of a scenario whose expressions are parsed; `render` shares its constant parts between replies."""

    def render(self, context: Context) -> Any:
        """Return the value with every expression replaced."""
        raise NotImplementedError


def compile_value(value: Any, *, name: str = "scenario") -> Template:
    """Parse the expressions in a JSON value; raise ScenarioError naming `name`, the expression and what there is."""
    raise NotImplementedError
