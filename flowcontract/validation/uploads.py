"""What the contract says of uploaded files, which their schemas cannot see: how many, of which types, how large."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from flowcontract.schemas.validators import Validators
    from flowcontract.specs.model import MediaType, Operation


class UploadLimits(NamedTuple):
    """What a file of a form may be; None is no limit.

    ``media_types``  a list such as `image/*, audio/wav`, from `encoding`
    ``max_bytes``    from the field's `maxLength`
    """

    media_types: str | None
    max_bytes: int | None


def upload_limits(validators: Validators, media: MediaType, field: str) -> UploadLimits:
    """Return the limits of a form field."""
    step = validators.form(media.pointer).get(field)
    max_bytes = step.schema.get("maxLength") if step is not None else None
    return UploadLimits(media.encoding.get(field, {}).get("contentType"), max_bytes)


def takes_one_file(operation: Operation) -> bool:
    """Tell whether an operation refuses several files."""
    return "too-many-files" in operation.refusals
