"""What differs from one server to another: where it is, its keys, what it can do, what must not be done to it."""

from __future__ import annotations

import os
import re
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flowcontract import yamlio
from flowcontract.errors import FlowContractError, UnknownNameError
from flowcontract.validation import Validators

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowcontract.specs import Api, Operation

_HERE = files("contract_tests")


class TargetError(FlowContractError):
    """A target file, or an option that names a server, cannot be used."""


@dataclass(frozen=True, slots=True)
class Provocation:
    """What to add to a request so that the server answers with a certain error or event."""

    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def places(self) -> frozenset[str]:
        """What is sent as it stands here, as `Case.keep` has it."""
        query = (f"query/{name}" for name in self.query)
        headers = (f"header/{name}" for name in self.headers)
        return frozenset((*query, *headers, *(f"/{yamlio.escape(name)}" for name in self.body)))


@dataclass(frozen=True, slots=True)
class ApiTarget:
    """One API of the server under test.

    ``base_url``   with the API's base path, without a slash at the end
    ``keys``       by security scheme; a scheme without one cannot be used
    ``values``     field or parameter -> what to send
    ``features``   what the app has switched on or off; what is not named is asked, or tried
    ``secret``     whether the keys are to be hidden in what is printed
    """

    api: Api
    base_url: str
    keys: Mapping[str, str]
    values: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, bool] = field(default_factory=dict)
    secret: bool = True


@dataclass(frozen=True, slots=True)
class Target:
    """The server under test. Times in seconds; `run` tells this run from others on the same server.

    ``connect_s``  until a connection stands
    ``answer_s``   until an answer begins, and between two of its pieces
    ``stream_s``   until a stream has ended
    ``stop_s``     until a stop that was granted shows in the stream
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
    stream_s: float = 120
    stop_s: float = 5
    provoke: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

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
    run: str | None = None,
) -> Target:
    """Put a target together from the contracts' defaults, a target file and options, the later winning.

    ``keys`` are `API=KEY` or `API.SCHEME=KEY`. Without a file and with the mock's own keys it is the mock server.
    Raises TargetError or UnknownNameError.
    """
    settings = read_target(file) if file else {}
    given = _given_keys(keys, apis)
    for name in settings.get("api", {}):
        if name not in apis:
            raise UnknownNameError("API in the target file", name, apis)
    own_keys = {
        name: _keys(api, settings.get("api", {}).get(name, {}), given.get(name, {})) for name, api in apis.items()
    }
    is_mock = {name: _are_mock_keys(apis[name], own) for name, own in own_keys.items()}
    if not file and all(is_mock.values()):
        settings = read_target(Path(str(_HERE / "targets" / "mock.toml")))
    run = run or secrets.token_hex(4)
    if settings.get("own_world"):
        own_keys = {name: {scheme: f"{key}-{run}" for scheme, key in own.items()} for name, own in own_keys.items()}
    targets = {
        name: ApiTarget(
            api=api,
            base_url=_base_url(
                api, base_url or settings.get("api", {}).get(name, {}).get("base_url") or settings.get("base_url")
            ),
            keys=own_keys[name],
            values=settings.get("api", {}).get(name, {}).get("values", {}),
            features=settings.get("api", {}).get(name, {}).get("features", {}),
            secret=not is_mock[name],
        )
        for name, api in apis.items()
    }
    plain = ("deterministic", "read_only", "no_delete_all", "own_world", "rate", "reachable_url", "provoke")
    options = {key: settings[key] for key in plain if key in settings}
    return Target(apis=targets, run=run, **options, **settings.get("timeouts", {}))


def read_target(path: Path) -> dict[str, Any]:
    """Read a target file, `${NAME}` replaced by environment variables; raise TargetError naming file, key and fault."""
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"{path}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise TargetError(f"{path}: {error}. Mend the TOML.") from None
    settings = {key: _with_environment(value, path) for key, value in settings.items()}
    found = Validators(yamlio.loads((_HERE / "target.schema.yaml").read_text(encoding="utf-8"))).violations(
        "", settings
    )
    if found:
        wrong = found[0]
        place = wrong.where.strip("/").replace("/", ".") or "the file"
        raise TargetError(f"{path}: {place}: expected {wrong.expected}, got {wrong.got}. See `contract-tests --help`.")
    return settings


def _with_environment(value: Any, path: Path) -> Any:
    if isinstance(value, dict):
        return {key: _with_environment(item, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_environment(item, path) for item in value]
    return re.sub(r"\$\{(\w+)\}", lambda match: _variable(match[1], path), value) if isinstance(value, str) else value


def _variable(name: str, path: Path) -> str:
    if name not in os.environ:
        raise TargetError(f"{path}: ${{{name}}} is not set. Set the environment variable {name}.")
    return os.environ[name]


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    """Replace placeholders in every text of a JSON value."""
    if isinstance(value, Mapping):
        return {key: _filled(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    for name, text in values.items():
        value = value.replace(name, text) if isinstance(value, str) else value
    return value


def _given_keys(options: Sequence[str], apis: Mapping[str, Api]) -> dict[str, dict[str, str]]:
    """Read `API=KEY` and `API.SCHEME=KEY`; the scheme `` stands for all that the API's usual key is for."""
    given: dict[str, dict[str, str]] = {}
    for option in options:
        name, equals, key = option.partition("=")
        api, _, scheme = name.partition(".")
        if not equals or not key:
            raise TargetError(f"--key {name}: expected API=KEY or API.SCHEME=KEY, for instance dify-chat=app-... .")
        if api not in apis:
            raise UnknownNameError("API to give a key to", api, apis)
        if scheme and scheme not in apis[api].schemes:
            raise UnknownNameError(f"security scheme of {api}", scheme, apis[api].schemes)
        given.setdefault(api, {})[scheme] = key
    return given


def _keys(api: Api, settings: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """Return the keys of an API by scheme. One for the whole API serves all schemes that are sent as its first is."""
    usual = given.get("") or settings.get("key")
    by_scheme = {**settings.get("keys", {}), **{scheme: key for scheme, key in given.items() if scheme}}
    for scheme in by_scheme:
        if scheme not in api.schemes:
            raise UnknownNameError(f"security scheme of {api.name}", scheme, api.schemes)
    if not usual and not by_scheme:
        return {name: scheme.mock_key for name, scheme in api.schemes.items() if scheme.mock_key}
    first = next(iter(api.schemes.values()))
    shared = {name: usual for name, scheme in api.schemes.items() if usual and scheme.prefix == first.prefix}
    return {**shared, **by_scheme}


def _are_mock_keys(api: Api, keys: Mapping[str, str]) -> bool:
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
