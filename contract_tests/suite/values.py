"""Values that only the server under test has: taken from the target file, asked of the app, or created when needed."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from contract_tests.cases import sample_files as samples
from contract_tests.cases.examples import list_examples
from contract_tests.cases.server_values import load_server_values
from contract_tests.suite.created import extract
from contract_tests.suite.filling import Filler
from contract_tests.suite.not_exercised import NotExercised

if TYPE_CHECKING:
    from collections.abc import Mapping

    from contract_tests.http.exchange import Request
    from contract_tests.http.target import Target
    from contract_tests.suite.app import Apps
    from contract_tests.suite.created import CreatedResources
    from contract_tests.suite.sender import Sender
    from flowcontract.specs.model import Operation

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class ServerValues:
    """Fills in requests with values of the server under test; it is a `ValueSource`."""

    def __init__(self, sender: Sender, apps: Apps, created: CreatedResources) -> None:
        """Create nothing yet."""
        self._sender = sender
        self._apps = apps
        self._created = created

    @property
    def target(self) -> Target:
        """The target, whose settings give some values."""
        return self._sender.target

    def read_parameters(self, api: str) -> Any:
        """Return what the app says of itself."""
        return self._apps.read_parameters(api)

    def obtain(self, api: str, name: str, sort: str = "") -> Any:
        """Return the value of a field that only this server can give, created when it is first needed.

        ``sort``  which sort of file it is to name (`image`); by default that of the documented example
        Raises NotExercised where it cannot be created.
        """
        values = self._created.get_values(api)
        if (name, sort) not in values:
            values[name, sort] = self._create(api, name, sort)
        return values[name, sort]

    def _create(self, api: str, name: str, sort: str) -> Any:
        how = load_server_values()[api]["fields"][name]
        operation = self.target.apis[api].api.operations[how["made_by"]]
        self._apps.check_allowed(operation)
        request = self.build_example(operation, how["example"], **how.get("with", {}))
        if sort:
            request = replace(request, body={**request.body, how["file"]: samples.upload(sort, self.target.run)})
        exchange = self._sender.send(operation, request)
        self._created.note(operation, request, exchange)
        value = extract(exchange.json, how)
        if value is None:
            answer = f"status {exchange.status} {exchange.trouble}".strip()
            raise NotExercised(f"{operation.name} gave no {name}: {answer}")
        return value

    def fill(
        self,
        operation: Operation,
        request: Request,
        keep: frozenset[str] = frozenset(),
        values: Mapping[str, Any] = _NOTHING,
    ) -> Request:
        """Return a request with this server's values in place of the documents', except in `keep`.

        ``values``  come before those of the target file
        """
        given = {**self.target.apis[operation.api].values, **values}
        return Filler(self, operation, keep, given).fill(request)

    def build_example(
        self, operation: Operation, name: str = "", values: Mapping[str, Any] = _NOTHING, **changed: Any
    ) -> Request:
        """Return a documented request, filled in; the first by default. `changed` replaces fields of its body.

        ``values``  come before those of the target file: those of another flow
        """
        api = self.target.apis[operation.api].api
        found = {example.name: example.request for example in list_examples(api, operation)}
        request = found[name] if name else next(iter(found.values()))
        if changed:
            request = replace(request, body={**request.body, **changed})
        return self.fill(operation, request, values=values)
