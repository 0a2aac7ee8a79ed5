"""Checks whether a recorded request that asked for the stream got it, and one that did not did not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from flowcontract.provenance.sources import read_provenance
from flowcontract.schemas.decoding import decode
from flowcontract.schemas.violations import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.recordings.exchange import Recorded
    from flowcontract.specs.model import Api, Operation


class ModeField(NamedTuple):
    """A field by which a request asks for the stream: its name, its value, the one that asks for it, its source."""

    name: str
    value: object
    wanted: object
    source: tuple[str, ...]


def find_mode_violations(
    recorded: Recorded, api: Api, operation: Operation, *, media_type: str, streamed: bool
) -> Iterator[Violation]:
    """Yield a violation where a successful answer is a stream that was not asked for, or no stream where one was.

    A request that leaves the fields out, or has undocumented values, may get either.
    """
    when = operation.stream.when if operation.stream else {}
    fields = [
        *(_find_in_body(recorded, api, operation, name, value) for name, value in when.get("body", {}).items()),
        *(_find_in_query(recorded, api, operation, name, value) for name, value in when.get("query", {}).items()),
    ]
    given = [field for field in fields if field is not None]
    wanted = all(field.value == field.wanted for field in given)
    if not given or len(given) < len(fields) or wanted == streamed:
        return
    names = [name for name, media in operation.success.media.items() if bool(media.stream) == wanted]
    because = f"the request asks for {'the' if wanted else 'no'} stream"
    source = tuple(line for field in given for line in field.source)
    yield Violation("media-type", f"{' or '.join(names)}: {because}", media_type or "none", source=source)


def _find_in_body(recorded: Recorded, api: Api, operation: Operation, name: str, wanted: object) -> ModeField | None:
    """Return a documented value of a field of the body; None where there is none."""
    media = operation.request.get("application/json")
    try:
        body = json.loads(recorded.asked or b"")
    except (ValueError, RecursionError):
        return None
    if media is None or not isinstance(body, dict) or name not in body:
        return None
    field = api.validators.follow(f"{api.validators.follow(media.pointer).pointer}/properties/{name}")
    if api.validators.find_violations(field.pointer, body[name]):
        return None
    return ModeField(name, body[name], wanted, read_provenance(field.schema))


def _find_in_query(recorded: Recorded, api: Api, operation: Operation, name: str, wanted: object) -> ModeField | None:
    """Return a documented value of a query parameter, as JSON writes it; None where there is none."""
    parameters = {parameter.name: parameter for parameter in operation.parameters if parameter.location == "query"}
    parameter, texts = parameters[name], recorded.query.get(name)
    if texts is None:
        return None
    value, undecodable = decode(api.validators, parameter.pointer, list(texts))
    if undecodable or api.validators.find_violations(parameter.pointer, value):
        return None
    written = value if isinstance(value, str) else json.dumps(value)
    return ModeField(name, written, wanted, parameter.provenance)
