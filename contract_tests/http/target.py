"""What differs between servers: the address, the keys, the features, and what must not be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowcontract import pointers
from flowcontract.errors import FlowContractError
from flowcontract.output.secrets import Secrets

if TYPE_CHECKING:
    from flowcontract.specs.model import Api, Operation


class TargetError(FlowContractError):
    """A target file, or an option about the server, cannot be used."""


class NobodyThereError(TargetError):
    """Nothing answers at a base URL; the text says what happened instead."""


@dataclass(frozen=True, slots=True)
class Provocation:
    """What to add to a request so that the server answers with a certain error or event."""

    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""  # sent instead of the API's own, as `keys` are
    keys: Mapping[str, str] = field(default_factory=dict)

    def find_keys(self, api: Api) -> Mapping[str, str] | None:
        """Return the credentials to send, by scheme; None where they are the API's own."""
        return build_keys_by_scheme(api, self.key, self.keys) or None

    @property
    def places(self) -> frozenset[str]:
        """The places of what is added, in the form of `Case.keep`."""
        query = (f"query/{name}" for name in self.query)
        headers = (f"header/{name}" for name in self.headers)
        return frozenset((*query, *headers, *(f"/{pointers.escape(name)}" for name in self.body)))


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow of an API, or an app, or another account: the keys that open it, the values that name it."""

    keys: Mapping[str, str]
    values: Mapping[str, Any] = field(default_factory=dict)
    slow: bool = False


@dataclass(frozen=True, slots=True)
class ApiTarget:
    """One API of the server under test.

    ``base_url``   with the API's base path, without a slash at the end
    ``keys``       by security scheme; a scheme without one cannot be used
    ``values``     field or parameter -> what to send
    ``features``   which features the app has; for others the app is asked, or they are tried
    ``secret``     whether the keys are to be hidden in what is printed
    ``slow``       whether its flows may be silent for as long as a stream may last
    ``second``     another account, or app, from which all that the first one makes is hidden
    ``failing``    a flow whose runs fail
    ``examples``   operation id -> name of an example -> the flow that it is for
    """

    api: Api
    base_url: str
    keys: Mapping[str, str]
    values: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, bool] = field(default_factory=dict)
    secret: bool = True
    slow: bool = False
    second: Flow | None = None
    failing: Flow | None = None
    examples: Mapping[str, Mapping[str, Flow]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """The server under test. Times in seconds; `run` tells this run from others on the same server.

    ``connect_s``  until a connection stands
    ``answer_s``   until an answer begins, and between two of its pieces
    ``silence_s``  in a stream, between two events other than pings; then it hangs
    ``stream_s``   until an answer, or a stream, has ended
    ``stop_s``     until a stop that was granted shows in the stream
    ``secrets``    everything of this run that must not be shown: keys of all APIs, and what else the target file hides
    """

    apis: Mapping[str, ApiTarget]
    run: str
    deterministic: bool = False
    read_only: bool = False
    no_delete_all: bool = True
    own_world: bool = False
    rate: float = 0
    reachable_url: str = ""  # a file that the server can fetch
    connect_s: float = 5
    answer_s: float = 30
    silence_s: float = 20
    stream_s: float = 120
    stop_s: float = 5
    provoke: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    secrets: Secrets = field(default_factory=Secrets, repr=False, compare=False)

    def find_provocation(self, operation: Operation, code: str, status: int) -> Provocation | None:
        """Return how an error code, `event:KIND` or `stream:NAME` can be provoked here; None if it cannot."""
        for name in (operation.name, "*"):
            found = self.provoke.get(name, {})
            if way := found.get(code) or (None if ":" in code else found.get("*")):
                values = {"{code}": code, "{status}": str(status)}
                parts = {part: value for part, value in way.items() if part != "thorough"}
                return Provocation(**_fill_placeholders(parts, values))
        return None


def _fill_placeholders(value: Any, values: Mapping[str, str]) -> Any:
    """Replace placeholders in every text of a JSON value."""
    if isinstance(value, Mapping):
        return {key: _fill_placeholders(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill_placeholders(item, values) for item in value]
    for name, text in values.items():
        value = value.replace(name, text) if isinstance(value, str) else value
    return value


def build_keys_by_scheme(api: Api, usual: str, by_scheme: Mapping[str, str]) -> dict[str, str]:
    """Return keys by scheme. One for the whole API serves all schemes that are sent as its first is."""
    first = next(iter(api.schemes.values()))
    shared = {name: usual for name, scheme in api.schemes.items() if usual and scheme.prefix == first.prefix}
    return {**shared, **by_scheme}


def are_mock_keys(api: Api, keys: Mapping[str, str]) -> bool:
    """Tell whether keys are the public ones of the mock, with or without the suffix of a world of their own."""
    mock = {name: scheme.mock_key for name, scheme in api.schemes.items()}
    return all(mock[name] and (key == mock[name] or key.startswith(f"{mock[name]}-")) for name, key in keys.items())
