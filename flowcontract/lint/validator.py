"""openapi-spec-validator's word on every bundle: the format's own schema, and what the validator knows beyond it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcontract.errors import FlowContractError
from flowcontract.lint.findings import Finding
from flowcontract.yamlio import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema.exceptions import ValidationError

    from flowcontract.lint.project import View


def check(view: View) -> Iterator[Finding]:
    """Yield what openapi-spec-validator says. It names places in the bundle at best, so our own findings go before its."""
    try:
        from openapi_spec_validator import OpenAPIV32SpecValidator  # noqa: PLC0415 - an extra that only this check needs
    except ImportError:
        raise FlowContractError(
            "openapi-spec-validator is not installed, and every bundle is checked with it. "
            "Install the extra: pip install 'flowcontract[lint]'."
        ) from None
    if view.document.get("openapi") != "3.2.0":
        got = view.document.get("openapi")
        yield view.finding("/openapi", f"the document says `openapi: {got}`", "Write `openapi: 3.2.0`.")
        return
    try:
        for error in OpenAPIV32SpecValidator(dict(view.document)).iter_errors():
            yield _finding(view, error)
    except Exception as error:  # noqa: BLE001 - it raises anything on a malformed document, and that is a finding
        path, line = view.place("")
        yield Finding(path, line, f"openapi-spec-validator fails: {type(error).__name__}: {error}", "Mend it.", vague=True)


def _finding(view: View, error: ValidationError) -> Finding:
    """Place an error at its deepest cause. Errors about names have no path, or one relative to a schema of theirs."""
    while error.context:
        error = max(error.context, key=lambda each: len(each.absolute_path))
    pointer = "".join(f"/{escape(str(token))}" for token in error.absolute_path)
    path, line = view.place(pointer if view.has(pointer) else "")
    return Finding(path, line, f"openapi-spec-validator: {pointer or '/'}: {error.message[:300]}", "Mend it.", vague=True)
