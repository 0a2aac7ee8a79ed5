"""Runs openapi-spec-validator on every bundle: the schema of the format, and the validator's own checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowcontract.errors import FlowContractError
from flowcontract.lint.findings import Finding
from flowcontract.pointers import join

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.lint.project import View

_LONGEST = 300  # characters of a message that are worth printing


def check(view: View) -> Iterator[Finding]:
    """Yield the errors of openapi-spec-validator; vague, since their places are in the bundle."""
    try:
        from openapi_spec_validator import OpenAPIV32SpecValidator  # noqa: PLC0415 - an extra of this check
    except ImportError:
        raise FlowContractError(
            "openapi-spec-validator is not installed, and every bundle is checked with it. "
            "In the checkout: pip install '.[lint]'."
        ) from None
    if view.document.get("openapi") != "3.2.0":
        got = view.document.get("openapi")
        yield view.build_finding("/openapi", f"the document says `openapi: {got}`", "Write `openapi: 3.2.0`.")
        return
    try:
        errors = dict(map(_find_cause, OpenAPIV32SpecValidator(dict(view.document)).iter_errors()))
    except Exception as error:  # noqa: BLE001 - it raises anything on a malformed document, and that is a finding
        path, line = view.locate("")
        yield Finding(
            path, line, f"openapi-spec-validator fails: {type(error).__name__}: {error}", "Mend it.", vague=True
        )
        return

    for pointer, message in errors.items():
        if not any(other.startswith(f"{pointer}/") for other in errors):  # else an inner error is more precise
            path, line = view.locate(pointer if view.has(pointer) else "")
            what = f"openapi-spec-validator: {pointer or '/'}: {message}"
            yield Finding(path, line, what, "Mend it.", vague=True)


def _find_cause(error: Any) -> tuple[str, str]:
    """Return pointer and message of an error's deepest cause; the paths of some are incomplete."""
    while error.context:
        error = max(error.context, key=lambda cause: len(cause.absolute_path))
    pointer = join(error.absolute_path)
    return pointer, error.message.partition("\n")[0][:_LONGEST]
