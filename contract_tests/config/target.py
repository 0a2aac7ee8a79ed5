"""A target from the contracts' defaults, a target file and options."""

from __future__ import annotations

import secrets as random
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from contract_tests.config.target_file import HERE, read_target
from contract_tests.http.target import (
    ApiTarget,
    Flow,
    NobodyThereError,
    Target,
    TargetError,
    are_mock_keys,
    keys_by_scheme,
)
from flowcontract.errors import UnknownNameError
from flowcontract.output.secrets import Secrets, is_secret_name, secret_values
from flowcontract.specs.model import available_apis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from flowcontract.specs.model import Api

MOCK = Path(str(HERE / "targets" / "mock.toml"))
"""The target file of the mock; `--target mock` on the command line."""


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
        return keys_by_scheme(self.api, self._given.get("") or self.settings.get("key", ""), by_scheme)

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
        keys = _with_suffix(keys_by_scheme(self.api, settings.get("key", ""), settings.get("keys", {})), suffix)
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


def _base_url(api: Api, url: str | None) -> str:
    """Return where an API is: a URL that does not end with the API's base path gets it."""
    if not url:
        raise TargetError(f"No base URL for {api.name}. Give --base-url URL, or base_url in a target file.")
    if not urlsplit(url).hostname or urlsplit(url).scheme not in ("http", "https"):
        raise TargetError(f'"{url}" is no base URL. Write for instance http://127.0.0.1:8080.')
    url = url.rstrip("/")
    return url if url.endswith(api.base_path) else url + api.base_path
