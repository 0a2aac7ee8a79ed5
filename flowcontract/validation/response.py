"""Checks a response against its operation: status, media type, headers and body; streams have their own judge."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flowcontract import pointers
from flowcontract.provenance.evidence import Tier
from flowcontract.provenance.sources import read_provenance
from flowcontract.schemas.decoding import decode, parse_json
from flowcontract.schemas.media_types import JSON, find_media
from flowcontract.schemas.violations import Violation, cap_tier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowcontract.schemas.validators import Validators
    from flowcontract.specs.model import MediaType, Operation, Response


def find_response_violations(
    validators: Validators, operation: Operation, status: int, headers: Mapping[str, str], body: object
) -> list[Violation]:
    """Return the violations of a response: status, media type, required headers, body.

    ``body`` is the raw bytes, or an already parsed JSON value. The events of a stream (``x-stream``) are not checked
    here: `streams.judge` does that.
    """
    if status not in operation.responses:
        documented = ", ".join(map(str, sorted(operation.responses)))
        return [Violation("status", f"one of {documented}", str(status), source=operation.provenance)]
    response = operation.responses[status]
    found = _check_answer(validators, response, headers, body)
    return [cap_tier(violation, Tier.OBSERVED) for violation in found] if response.observed else found


def _check_answer(
    validators: Validators, response: Response, headers: Mapping[str, str], body: object
) -> list[Violation]:
    lower = {name.lower(): value for name, value in headers.items()}
    found = list(_check_headers(validators, response, lower))
    content_type = lower.get("content-type", "")
    name = find_media(response.media, content_type)
    if name is not None:
        return found + _check_content(validators, response.media[name], content_type, body)
    if response.media or (body not in (b"", None) and not response.media):
        expected = f"the media type {' or '.join(response.media)}" if response.media else "no body"
        found.append(
            Violation("media-type", expected, content_type or "none", source=_find_media_type_source(response))
        )
    return found


def _find_media_type_source(response: Response) -> tuple[str, ...]:
    """Return the provenance of a response's media type; that of the response itself may be about its status only."""
    return next((media.provenance for media in response.media.values() if media.provenance), response.provenance)


def _check_headers(validators: Validators, response: Response, lower: Mapping[str, str]) -> Iterator[Violation]:
    for name, header in response.headers.items():
        source = read_provenance(header) or response.provenance
        value = lower.get(name.lower())
        if value is None:
            if header.get("required"):
                yield Violation("required", f"the header `{name}`", "none", source=source)
        elif "schema" in header:
            pointer = validators.follow(f"{response.pointer}/headers/{pointers.escape(name)}").pointer + "/schema"
            decoded, undecodable = decode(validators, pointer, [value])
            for violation in [undecodable] if undecodable else validators.find_violations(pointer, decoded):
                yield replace(
                    violation,
                    expected=f"{violation.expected} in the header `{name}`",
                    source=violation.source or source,
                )


def _check_content(validators: Validators, media: MediaType, content_type: str, body: object) -> list[Violation]:
    sent = content_type.partition(";")[0].strip().lower()
    if media.stream or not media.pointer or not (sent == JSON or sent.endswith("+json")):
        return []
    if isinstance(body, bytes):
        try:
            body = parse_json(body)
        except ValueError as error:
            return [Violation("json", "JSON", str(error), source=media.provenance)]
    return validators.find_violations(media.pointer, body)
