"""What a run has created on the server: values to use again, and resources to remove at the end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from contract_tests.cases.examples import list_examples
from contract_tests.cases.server_values import load_server_values
from flowcontract import pointers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contract_tests.http.exchange import Exchange, Request
    from flowcontract.specs.model import Api, Operation


@dataclass(frozen=True, slots=True)
class CreatedResource:
    """A resource that can be removed: the field that names it, its value, and all fields that its removal needs."""

    api: str
    field: str
    value: str
    fields: Mapping[str, str]

    def __str__(self) -> str:
        """Return it as the list of leftovers names it."""
        return f"{self.api} {self.field} {self.value}"

    def build_removal(self, api: Api) -> tuple[Operation, Request]:
        """Return the operation that removes it, and the request to send."""
        operation = api.operations[load_server_values()[self.api]["fields"][self.field]["removed_by"]]
        base = list_examples(api, operation)[0].request
        path = {name: self.fields.get(name, value) for name, value in base.path_values.items()}
        body = base.body
        if isinstance(body, dict):
            body = {name: self.fields.get(name, value) for name, value in body.items()}
        return operation, replace(base, path_values=path, body=body)


class CreatedResources:
    """Keeps account of what exchanges create and remove."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._values: dict[str, dict[tuple[str, str], Any]] = {}
        self._removable: dict[tuple[str, str, str], CreatedResource] = {}  # by API, field and value

    def __iter__(self) -> Iterator[CreatedResource]:
        """Iterate over a copy of what is to be removed."""
        return iter(list(self._removable.values()))

    def get_values(self, api: str) -> dict[tuple[str, str], Any]:
        """Return the values to use again, by field and kind of file."""
        return self._values.setdefault(api, {})

    def discard(self, resource: CreatedResource) -> None:
        """Forget a resource."""
        self._removable.pop((resource.api, resource.field, resource.value), None)

    def note(self, operation: Operation, request: Request, exchange: Exchange) -> None:
        """Note what an exchange created, and forget what it removed."""
        about = load_server_values().get(operation.api, {})
        for name, how in about.get("fields", {}).items():
            if how.get("made_by") == operation.id and "removed_by" in how and exchange.status < 300:  # noqa: PLR2004 - HTTP's own range
                self._note_created(operation, request, exchange, name)
            if how.get("removed_by") == operation.id and 200 <= exchange.status < 300:  # noqa: PLR2004 - HTTP's own range
                self._removable.pop((operation.api, name, request.path_values.get(name, "")), None)
                self._values.pop(operation.api, None)  # other values may have been removed with it
        if operation.id in about.get("deletes_all", ()) and exchange.status < 300:  # noqa: PLR2004 - HTTP's own range
            self._values.pop(operation.api, None)

    def _note_created(self, operation: Operation, request: Request, exchange: Exchange, name: str) -> None:
        how = load_server_values()[operation.api]["fields"][name]
        value = next((found for payload in exchange.payloads if (found := extract(payload, how))), None)
        if not isinstance(value, str):
            return
        user = request.body.get("user") if isinstance(request.body, Mapping) else None
        owner = {"user": user} if isinstance(user, str) else {}
        fields = {**request.path_values, **owner, name: value}
        self._removable[operation.api, name, value] = CreatedResource(operation.api, name, value, fields)


def extract(payload: Any, how: Mapping[str, Any]) -> Any:
    """Return the value that stands `at` a pointer in an answer, the part to `take` of it; None where there is none."""
    try:
        value = pointers.resolve(payload, how["at"])
    except KeyError:
        return None
    part = re.search(how["take"], value) if "take" in how and isinstance(value, str) else None
    return part[0] if part else value
