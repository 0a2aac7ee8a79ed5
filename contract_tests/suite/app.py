"""What the apps under test say of themselves, and which operations may be called on them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from contract_tests.cases.examples import list_examples
from contract_tests.cases.server_values import load_server_values
from contract_tests.suite.not_exercised import Withheld
from flowcontract import pointers

if TYPE_CHECKING:
    from contract_tests.suite.sender import Sender
    from flowcontract.specs.model import Operation


class Apps:
    """Asks each app for its settings (`getParameters`) once."""

    def __init__(self, sender: Sender) -> None:
        """Ask through a sender, when something is first needed."""
        self._sender = sender
        self._parameters: dict[str, Any] = {}

    def read_parameters(self, api: str) -> Any:
        """Return the answer to `getParameters`; {} for an API without it, or an answer that is no object."""
        if api not in self._parameters:
            contract = self._sender.target.apis[api].api
            operation = contract.operations.get("getParameters")
            answer = None
            if operation:
                answer = self._sender.send(operation, list_examples(contract, operation)[0].request).json
            self._parameters[api] = answer if isinstance(answer, dict) else {}
        return self._parameters[api]

    def has_feature(self, api: str, feature: str) -> bool:
        """Tell whether the app has a feature: as the target file says, else as the app says itself."""
        configured = self._sender.target.apis[api].features
        if feature in configured:
            return configured[feature]
        where = load_server_values()[api]["features"][feature]["at"]
        try:
            return pointers.resolve(self.read_parameters(api), where) is not False
        except KeyError:
            return True  # the app does not say: try it

    def check_allowed(self, operation: Operation, *, refused: bool = False) -> None:
        """Raise Withheld for an operation that must not be called, or that the app has switched off.

        ``refused``  whether the request is one that a server refuses, so that it does no harm
        """
        target = self._sender.target
        if target.read_only and operation.method not in ("GET", "HEAD"):
            raise Withheld("the target is read_only")
        if refused:
            return
        about = load_server_values().get(operation.api, {})
        if operation.id in about.get("deletes_all", ()):
            if target.no_delete_all:
                raise Withheld("it would delete what the suite did not create: the target says no_delete_all")
            if "PYTEST_XDIST_WORKER" in os.environ and not target.own_world:
                raise Withheld("it would delete what other workers created: run it without -n")
        for feature, where in about.get("features", {}).items():
            if operation.id in where["operations"] and not self.has_feature(operation.api, feature):
                raise Withheld(f"this app has no {feature.replace('_', ' ')}")
