"""A target from the contracts' defaults, a target file and options."""

from __future__ import annotations

import os
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
    build_keys_by_scheme,
)
from flowcontract.errors import UnknownNameError
from flowcontract.output.secret_names import is_secret_name
from flowcontract.output.secret_texts import find_secret_values
from flowcontract.output.secrets import Secrets
from flowcontract.specs.model import list_apis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from flowcontract.specs.model import Api

RUN_VARIABLE = "FLOWCONTRACT_RUN"
"""The environment variable by which two runs invent the same names."""
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
    """Build a target from the contracts' defaults, a target file and options; the later take precedence.

    ``keys``     `API=KEY` or `API.SCHEME=KEY`
    ``is_mock``  tells whether the mock answers at a base URL, whose keys are public; called where no key is given.
                 Raises NobodyThereError. By default the caller vouches for it.
    Raises TargetError or UnknownNameError.
    """
    if file and str(file) == MOCK.stem and not file.exists():
        file = MOCK
    settings = read_target(file, apis) if file else {}
    given = _parse_keys(keys)
    builders = {
        name: _Builder(api, settings.get("api", {}).get(name, {}), given.get(name, {}), base_url, settings)
        for name, api in apis.items()
    }
    is_ours = _ask_once((lambda _: True) if settings.get("mock") else is_mock)
    for builder in builders.values():
        builder.check(is_ours)
    if not file and all(builder.has_mock_keys and is_ours(builder) for builder in builders.values()):
        settings = read_target(MOCK, apis)
        for name, builder in builders.items():
            builder.settings = settings.get("api", {}).get(name, {})
    run = os.environ.get(RUN_VARIABLE) or random.token_hex(4)
    suffix = f"-{run}" if settings.get("own_world") else ""
    targets = {name: builder.build(suffix) for name, builder in builders.items()}
    plain = ("deterministic", "read_only", "no_delete_all", "own_world", "rate", "reachable_url", "provoke")
    options = {key: settings[key] for key in plain if key in settings}
    hidden = Secrets(_list_secrets(settings, targets, given))
    return Target(apis=targets, run=run, secrets=hidden, **options, **settings.get("timeouts", {}))


def _ask_once(is_mock: Callable[[str], bool]) -> Callable[[_Builder], bool]:
    """Return a function that tells of each API whether the mock serves it; each server is asked once."""
    known: dict[str, bool] = {}

    def ask(builder: _Builder) -> bool:
        where = builder.base_url.removesuffix(builder.api.base_path)
        try:
            known[where] = known[where] if where in known else is_mock(where)
        except NobodyThereError as error:
            raise TargetError(
                f"Nothing answers for {builder.api.name} at {builder.base_url}: {error}. "
                "Start the server, or correct --base-url."
            ) from None
        return known[where]

    return ask


class _Builder:
    """Builds one API of the target."""

    def __init__(
        self,
        api: Api,
        settings: Mapping[str, Any],
        given: Mapping[str, str],
        base_url: str | None,
        target: Mapping[str, Any],
    ) -> None:
        self.api, self.settings, self._given = api, settings, given
        self.base_url = _complete_url(api, base_url or settings.get("base_url") or target.get("base_url"))
        mock_keys = {name: scheme.mock_key for name, scheme in api.schemes.items() if scheme.mock_key}
        self.keys = self._choose_keys() or mock_keys

    def _choose_keys(self) -> dict[str, str]:
        for scheme in self._given:
            if scheme and scheme not in self.api.schemes:
                raise UnknownNameError(f"security scheme of {self.api.name}", scheme, self.api.schemes)
        by_scheme = {**self.settings.get("keys", {}), **{name: key for name, key in self._given.items() if name}}
        return build_keys_by_scheme(self.api, self._given.get("") or self.settings.get("key", ""), by_scheme)

    @property
    def has_mock_keys(self) -> bool:
        """Whether the keys are the mock's own, which are public."""
        return are_mock_keys(self.api, self.keys)

    def check(self, is_mock: Callable[[_Builder], bool]) -> None:
        """Raise TargetError where a server that is not the mock would get the mock's keys."""
        if self._choose_keys() or is_mock(self):
            return
        name = self.api.name
        raise TargetError(
            f"No key for {name}, and the server at {self.base_url} is not the mock. Give --key {name}=KEY, or `key` "
            f"under [api.{name}] of a target file. Or name the APIs to ask with --api, or the mock with --target mock."
        )

    def build(self, suffix: str) -> ApiTarget:
        """Return the API of the target; `suffix` is added to every key."""
        settings = self.settings
        own = Flow(_add_suffix(self.keys, suffix), settings.get("values", {}), settings.get("slow", False))
        examples = settings.get("examples", {})
        return ApiTarget(
            api=self.api,
            base_url=self.base_url,
            keys=own.keys,
            values=own.values,
            features=settings.get("features", {}),
            secret=not self.has_mock_keys,
            slow=own.slow,
            second=self._build_flow(own, settings.get("second"), suffix),
            failing=self._build_flow(own, settings.get("failing"), suffix),
            examples={
                operation: {
                    name: built for name, flow in flows.items() if (built := self._build_flow(own, flow, suffix))
                }
                for operation, flows in examples.items()
            },
        )

    def _build_flow(self, own: Flow, settings: Mapping[str, Any] | None, suffix: str) -> Flow | None:
        """Return a flow of the API: its own settings beside the API's."""
        if settings is None:
            return None
        keys = _add_suffix(build_keys_by_scheme(self.api, settings.get("key", ""), settings.get("keys", {})), suffix)
        values = {**own.values, **settings.get("values", {})}
        return Flow({**own.keys, **keys}, values, settings.get("slow", own.slow))


def _add_suffix(keys: Mapping[str, str], suffix: str) -> dict[str, str]:
    return {scheme: f"{key}{suffix}" for scheme, key in keys.items()}


def _list_secrets(
    settings: Mapping[str, Any], apis: Mapping[str, ApiTarget], given: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """Yield what must not be shown: all keys but the mock's, passwords in URLs, values of fields with secret names."""
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
        keys += [table.get("key", ""), *table.get("keys", {}).values(), *find_secret_values(table.get("values", {}))]
    for ways in settings.get("provoke", {}).values():
        for way in ways.values():
            keys += [way.get("key", ""), *way.get("keys", {}).values()]
            keys += [*find_secret_values(way.get("query", {})), *find_secret_values(way.get("body", {}))]
            headers = Secrets()
            for name, value in way.get("headers", {}).items():
                if is_secret_name(name):
                    headers.add_header(name, value)
            keys += headers
    yield from (key for key in keys if key and not any(key == mock or key.startswith(f"{mock}-") for mock in known))


def _parse_keys(options: Sequence[str]) -> dict[str, dict[str, str]]:
    """Parse `API=KEY` and `API.SCHEME=KEY`; an empty scheme stands for all that the usual key is for."""
    given: dict[str, dict[str, str]] = {}
    for option in options:
        name, equals, key = option.partition("=")
        api, _, scheme = name.partition(".")
        if not equals or not key:
            raise TargetError("--key: expected API=KEY or API.SCHEME=KEY, for instance dify-chat=app-... .")
        if api not in list_apis():
            raise UnknownNameError("API to give a key to", api, list_apis())
        given.setdefault(api, {})[scheme] = key
    return given


def _complete_url(api: Api, url: str | None) -> str:
    """Return the URL of an API: its base path is added unless the URL ends with it."""
    if not url:
        raise TargetError(f"No base URL for {api.name}. Give --base-url URL, or base_url in a target file.")
    if not urlsplit(url).hostname or urlsplit(url).scheme not in ("http", "https"):
        raise TargetError(f'"{url}" is not a base URL. Write for instance http://127.0.0.1:8080.')
    url = url.rstrip("/")
    return url if url.endswith(api.base_path) else url + api.base_path
