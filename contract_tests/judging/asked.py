"""Whether a recorded request asked for the stream, and whether it got what it asked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from flowcontract.provenance.sources import provenance
from flowcontract.schemas.decoding import decode
from flowcontract.schemas.violations import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcontract.recordings.exchange import Recorded
    from flowcontract.specs.model import Api, Operation


class ModeField(NamedTuple):
    """What a request said about the stream: the field's value, what asks for the stream, and the lines that say so."""

    name: str
    value: object
    wanted: object
    source: tuple[str, ...]


def mode_violations(
    recorded: Recorded, api: Api, operation: Operation, *, media_type: str, streamed: bool
) -> Iterator[Violation]:
    """Yield where an answer that went well is a stream that was not asked for, or the whole where one was.

    Who does not say which, or says what no document knows, may get either.
    """
    when = operation.stream.when if operation.stream else {}
    asked = [
        *(_find_in_body(recorded, api, operation, name, value) for name, value in when.get("body", {}).items()),
        *(_find_in_query(recorded, api, operation, name, value) for name, value in when.get("query", {}).items()),
    ]
    said = [one for one in asked if one is not None]
    wanted = all(one.value == one.wanted for one in said)
    if not said or len(said) < len(asked) or wanted == streamed:
        return
    names = [name for name, media in operation.success.media.items() if bool(media.stream) == wanted]
    because = f"the request asks for {'the' if wanted else 'no'} stream"
    source = tuple(line for one in said for line in one.source)
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
    if api.validators.violations(field.pointer, body[name]):
        return None
    return ModeField(name, body[name], wanted, provenance(field.schema))


def _find_in_query(recorded: Recorded, api: Api, operation: Operation, name: str, wanted: object) -> ModeField | None:
    """Return a documented value of a query parameter, as JSON writes it; None where there is none."""
    parameter = next(one for one in operation.parameters if one.name == name and one.location == "query")
    texts = recorded.query.get(name)
    if texts is None:
        return None
    value, undecodable = decode(api.validators, parameter.pointer, list(texts))
    if undecodable or api.validators.violations(parameter.pointer, value):
        return None
    written = value if isinstance(value, str) else json.dumps(value)
    return ModeField(name, written, wanted, parameter.provenance)
