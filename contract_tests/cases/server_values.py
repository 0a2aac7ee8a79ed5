"""What the documents leave to the server under test: `server_values.yaml`."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from flowcontract import yamlio

if TYPE_CHECKING:
    from collections.abc import Mapping


@cache
def load_server_values() -> Mapping[str, Mapping[str, Any]]:
    """Return the content of `server_values.yaml`, by API."""
    text = files("contract_tests.cases").joinpath("server_values.yaml").read_text(encoding="utf-8")
    return dict(yamlio.loads(text, name="contract_tests/cases/server_values.yaml"))
