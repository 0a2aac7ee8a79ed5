"""What differs from one server to another: where it is, its keys, what it can do, what must not be done to it."""

from __future__ import annotations

import secrets as random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from contract_tests.config.target_file import HERE, TargetError, read_target
from flowcontract import yamlio
from flowcontract.errors import UnknownNameError
from flowcontract.output.secrets import Secrets, is_secret_name, secret_values
from flowcontract.specs.model import available_apis

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowcontract.specs.model import Api, Operation

__all__ = ["ApiTarget", "Flow", "Provocation", "Target", "TargetError", "load_target", "read_target"]

MOCK = Path(str(HERE / "targets" / "mock.toml"))
"""The target file of the mock; `--target mock` on the command line."""


class NobodyThereError(TargetError):
    """Nothing answers at a base URL; the text says how that showed."""


@dataclass(frozen=True, slots=True)
class Provocation:
    """What to add to a request so that the server answers with a certain error or event."""

    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""  # sent instead of the API's own, as `keys` are
    keys: Mapping[str, str] = field(default_factory=dict)

    def keys_for(self, api: Api) -> Mapping[str, str] | None:
        """Return the credentials to send, by scheme; None where they are the API's own."""
        return _by_scheme(api, self.key, self.keys) or None

    @property
    def places(self) -> frozenset[str]:
        """What is sent as it stands here, as `Case.keep` has it."""
        query = (f"query/{name}" for name in self.query)
        headers = (f"header/{name}" for name in self.headers)
        return frozenset((*query, *headers, *(f"/{yamlio.escape(name)}" for name in self.body)))


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
    ``features``   what the app has switched on or off; what is not named is asked, or tried
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

    def provocation(self, operation: Operation, code: str, status: int) -> Provocation | None:
        """Return how an error code, `event:KIND` or `stream:NAME` can be provoked here; None if it cannot."""
        for name in (operation.name, "*"):
            found = self.provoke.get(name, {})
            if way := found.get(code) or (None if ":" in code else found.get("*")):
                values = {"{code}": code, "{status}": str(status)}
                parts = {part: value for part, value in way.items() if part != "thorough"}
                return Provocation(**_filled(parts, values))
        return None


def load_target(
    apis: Mapping[str, Api],
    *,
    base_url: str | None = None,
    keys: Sequence[str] = (),
    file: Path | None = None,
    is_mock: Callable[[str], bool] = lambda _: True,
) -> Target:
    """Put a target together from the contracts' defaults, a target file and options, the later winning.

    ``keys``     `API=KEY` or `API.SCHEME=KEY`
    ``is_mock``  tells of a base URL for which there are no keys whether the mock is there, whose keys everybody knows;
                 raises NobodyThereError. Without it the caller vouches for that.
    Raises TargetError or UnknownNameError.
    """
    settings = read_target(_shipped(file), apis) if file else {}
    given = _given_keys(keys)
    builders = {
        name: _Builder(api, settings.get("api", {}).get(name, {}), given.get(name, {}), base_url, settings)
        for name, api in apis.items()
    }
    is_ours = _asked_once((lambda _: True) if settings.get("mock") else is_mock)
    for builder in builders.values():
        builder.check(is_ours)
    if not file and all(builder.has_mock_keys and is_ours(builder) for builder in builders.values()):
        settings = read_target(MOCK, apis)
        for name, builder in builders.items():
            builder.settings = settings.get("api", {}).get(name, {})
    run = random.token_hex(4)
    suffix = f"-{run}" if settings.get("own_world") else ""
    targets = {name: builder.build(suffix) for name, builder in builders.items()}
    plain = ("deterministic", "read_only", "no_delete_all", "own_world", "rate", "reachable_url", "provoke")
    options = {key: settings[key] for key in plain if key in settings}
    hidden = Secrets(_secret(settings, targets, given))
    return Target(apis=targets, run=run, secrets=hidden, **options, **settings.get("timeouts", {}))


def _shipped(file: Path) -> Path:
    return MOCK if str(file) == MOCK.stem and not file.exists() else file


def _asked_once(is_mock: Callable[[str], bool]) -> Callable[[_Builder], bool]:
    """Return what tells of each API whether the mock has it; a server is asked once."""
    known: dict[str, bool] = {}

    def ask(builder: _Builder) -> bool:
        where = builder.base_url.removesuffix(builder.api.base_path)
        try:
            known[where] = known[where] if where in known else is_mock(where)
        except NobodyThereError as error:
            raise TargetError(
                f"Nothing answers for {builder.api.name} at {builder.base_url}: {error}. "
                "Start the server, or mend --base-url."
            ) from None
        return known[where]

    return ask


class _Builder:
    """Puts together what one API of the target is."""

    def __init__(
        self,
        api: Api,
        settings: Mapping[str, Any],
        given: Mapping[str, str],
        base_url: str | None,
        target: Mapping[str, Any],
    ) -> None:
        self.api, self.settings, self._given = api, settings, given
        self.base_url = _base_url(api, base_url or settings.get("base_url") or target.get("base_url"))
        self.keys = self._keys() or {name: scheme.mock_key for name, scheme in api.schemes.items() if scheme.mock_key}

    def _keys(self) -> dict[str, str]:
        for scheme in self._given:
            if scheme and scheme not in self.api.schemes:
                raise UnknownNameError(f"security scheme of {self.api.name}", scheme, self.api.schemes)
        by_scheme = {**self.settings.get("keys", {}), **{name: key for name, key in self._given.items() if name}}
        return _by_scheme(self.api, self._given.get("") or self.settings.get("key", ""), by_scheme)

    @property
    def has_mock_keys(self) -> bool:
        """Whether the keys are those that everybody knows."""
        return are_mock_keys(self.api, self.keys)

    def check(self, is_mock: Callable[[_Builder], bool]) -> None:
        """Raise TargetError where a server that is not the mock would get the mock's keys."""
        if self._keys() or is_mock(self):
            return
        name = self.api.name
        raise TargetError(
            f"No key for {name}, and the server at {self.base_url} is not the mock. Give --key {name}=KEY, or `key` "
            f"under [api.{name}] of a target file. Or name the APIs to ask with --api, or the mock with --target mock."
        )

    def build(self, suffix: str) -> ApiTarget:
        """Return the API of the target; `suffix` is added to every key."""
        settings = self.settings
        own = Flow(_with_suffix(self.keys, suffix), settings.get("values", {}), settings.get("slow", False))
        examples = settings.get("examples", {})
        return ApiTarget(
            api=self.api,
            base_url=self.base_url,
            keys=own.keys,
            values=own.values,
            features=settings.get("features", {}),
            secret=not self.has_mock_keys,
            slow=own.slow,
            second=self._flow(own, settings.get("second"), suffix),
            failing=self._flow(own, settings.get("failing"), suffix),
            examples={
                operation: {name: found for name, flow in named.items() if (found := self._flow(own, flow, suffix))}
                for operation, named in examples.items()
            },
        )

    def _flow(self, own: Flow, settings: Mapping[str, Any] | None, suffix: str) -> Flow | None:
        """Return a flow of the API: its own settings beside the API's."""
        if settings is None:
            return None
        keys = _with_suffix(_by_scheme(self.api, settings.get("key", ""), settings.get("keys", {})), suffix)
        values = {**own.values, **settings.get("values", {})}
        return Flow({**own.keys, **keys}, values, settings.get("slow", own.slow))


def _with_suffix(keys: Mapping[str, str], suffix: str) -> dict[str, str]:
    return {scheme: f"{key}{suffix}" for scheme, key in keys.items()}


def _secret(
    settings: Mapping[str, Any], apis: Mapping[str, ApiTarget], given: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """Yield what is not to be shown: all keys but the mock's, passwords in URLs, what stands under telling names."""
    known = {scheme.mock_key for api in apis.values() for scheme in api.api.schemes.values() if scheme.mock_key}
    keys = [key for of_api in given.values() for key in of_api.values()]
    for target in apis.values():
        flows = [
            target.second,
            target.failing,
            *(flow for named in target.examples.values() for flow in named.values()),
        ]
        keys += [*target.keys.values(), *(key for flow in flows if flow for key in flow.keys.values())]
        keys.append(unquote(urlsplit(target.base_url).password or ""))
    for table in settings.get("api", {}).values():
        keys += [table.get("key", ""), *table.get("keys", {}).values(), *secret_values(table.get("values", {}))]
    for ways in settings.get("provoke", {}).values():
        for way in ways.values():
            keys += [way.get("key", ""), *way.get("keys", {}).values()]
            keys += [*secret_values(way.get("query", {})), *secret_values(way.get("body", {}))]
            keys += _hidden_in(way.get("headers", {}))
    yield from (key for key in keys if key and not any(key == mock or key.startswith(f"{mock}-") for mock in known))


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    """Replace placeholders in every text of a JSON value."""
    if isinstance(value, Mapping):
        return {key: _filled(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    for name, text in values.items():
        value = value.replace(name, text) if isinstance(value, str) else value
    return value


def _hidden_in(headers: Mapping[str, str]) -> Secrets:
    found = Secrets()
    for name, value in headers.items():
        if is_secret_name(name):
            found.add_header(name, value)
    return found


def _given_keys(options: Sequence[str]) -> dict[str, dict[str, str]]:
    """Read `API=KEY` and `API.SCHEME=KEY`; the scheme `` stands for all that the API's usual key is for."""
    given: dict[str, dict[str, str]] = {}
    for option in options:
        name, equals, key = option.partition("=")
        api, _, scheme = name.partition(".")
        if not equals or not key:
            raise TargetError("--key: expected API=KEY or API.SCHEME=KEY, for instance dify-chat=app-... .")
        if api not in available_apis():
            raise UnknownNameError("API to give a key to", api, available_apis())
        given.setdefault(api, {})[scheme] = key
    return given


def _by_scheme(api: Api, usual: str, by_scheme: Mapping[str, str]) -> dict[str, str]:
    """Return keys by scheme. One for the whole API serves all schemes that are sent as its first is."""
    first = next(iter(api.schemes.values()))
    shared = {name: usual for name, scheme in api.schemes.items() if usual and scheme.prefix == first.prefix}
    return {**shared, **by_scheme}


def are_mock_keys(api: Api, keys: Mapping[str, str]) -> bool:
    """Tell whether keys are those of the mock, which everybody knows, or open a world of their own there."""
    mock = {name: scheme.mock_key for name, scheme in api.schemes.items()}
    return all(mock[name] and (key == mock[name] or key.startswith(f"{mock[name]}-")) for name, key in keys.items())


def _base_url(api: Api, url: str | None) -> str:
    """Return where an API is: a URL that does not end with the API's base path gets it."""
    if not url:
        raise TargetError(f"No base URL for {api.name}. Give --base-url URL, or base_url in a target file.")
    if not urlsplit(url).hostname or urlsplit(url).scheme not in ("http", "https"):
        raise TargetError(f'"{url}" is no base URL. Write for instance http://127.0.0.1:8080.')
    url = url.rstrip("/")
    return url if url.endswith(api.base_path) else url + api.base_path
