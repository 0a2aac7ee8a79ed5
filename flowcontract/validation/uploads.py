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
    ``typed``        whether it has to say a type of its own (`x-typed`), which real servers demand
    """

    media_types: str | None
    max_bytes: int | None
    typed: bool = False


def upload_limits(validators: Validators, media: MediaType, field: str) -> UploadLimits:
    """Return the limits of a form field."""
    step = validators.find_form_fields(media.pointer).get(field)
    schema = step.schema if step is not None else {}
    media_types = media.encoding.get(field, {}).get("contentType")
    return UploadLimits(media_types, schema.get("maxLength"), bool(schema.get("x-typed")))


def takes_one_file(operation: Operation) -> bool:
    """Tell whether an operation refuses several files."""
    return "too-many-files" in operation.refusals
