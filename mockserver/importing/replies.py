"""A recorded answer -> a scenario's `reply` with its `faults`: events with their delays, or a body, or a file."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from flowcontract.schemas.decoding import parse_json
from flowcontract.schemas.media_types import JSON, find_media
from mockserver.importing.streams import read_stream
from mockserver.importing.yaml_values import can_be_written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flowcontract.recordings.exchange import RecordedAnswer
    from flowcontract.specs.model import Operation
    from flowcontract.streams.sse import Framing
    from mockserver.importing.streams import RecordedStream

_EVENTS: Final = "text/event-stream"
_LONGEST_DELAY_MS: Final = 3_600_000
_NOT_KEPT: Final = frozenset(
    {
        *(
            "preference-applied",
            "alt-svc",
            "cache-control",
            "connection",
            "content-encoding",
            "content-length",
            "content-type",
            "date",
        ),
        *(
            "expires",
            "keep-alive",
            "pragma",
            "preference-applied",
            "server",
            "set-cookie",
            "strict-transport-security",
            "trailer",
        ),
        *("transfer-encoding", "upgrade", "vary", "via", "x-accel-buffering", "x-powered-by"),
    }
)
"""Headers that belong to a connection, to a moment or to the server's software, and `content-type`, which has rules."""


@dataclass(slots=True)
class Draft:
    """A reply that is being made from an answer, before expressions are put in.

    ``reply``   as a scenario has it, without expressions
    ``values``  what of it may have expressions: its JSON values and texts
    ``file``    the ending and the bytes of what is no text
    ``stream``  the events as they were recorded, None where the answer was no stream
    ``notes``   what could not be kept
    """

    reply: dict[str, Any]
    faults: list[str] = field(default_factory=list)
    file: tuple[str, bytes] | None = None
    stream: RecordedStream | None = None
    notes: list[str] = field(default_factory=list)


def draft_reply(answer: RecordedAnswer, operation: Operation) -> Draft:
    """Return an answer as a reply; a body that is neither JSON nor text becomes a file."""
    headers = {name: value for name, value in answer.headers.items() if _is_kept(name)}
    delay = {"delay_ms": round(min(answer.wait_ms, _LONGEST_DELAY_MS))} if answer.wait_ms >= 1 else {}
    framing = _find_framing(answer, operation)
    stream = read_stream(answer, framing) if framing else None
    if stream is not None and stream.events:
        expected = _name_stream(answer, operation)
        reply = {**_add_type(headers, answer, expected), **delay}
        reply["events" if stream.framing == "sse" else "lines"] = [dict(event) for event in stream.events]
        return Draft(reply, list(stream.faults), stream=stream, notes=list(stream.notes))
    draft = _draft_body(answer, headers)
    draft.reply = {"headers": draft.reply.pop("headers"), **delay, **draft.reply}
    if not draft.reply["headers"]:
        del draft.reply["headers"]
    if answer.cut and answer.body:
        draft.faults.append(f"cut={len(answer.body)}")
        if isinstance(draft.reply.get("body"), str):
            draft.reply["body"] += " "  # what was announced and never came
    return draft


def replace_values(draft: Draft, replace: Callable[[Any], Any], keep: Callable[[str], str]) -> dict[str, Any]:
    """Return the reply with expressions: `replace` puts them into values, `keep` leaves a text as it is."""
    reply = {**draft.reply}
    if "headers" in reply:
        reply["headers"] = {name: keep(value) for name, value in reply["headers"].items()}
    if "body" in reply:
        reply["body"] = keep(reply["body"]) if isinstance(reply["body"], str) else replace(reply["body"])
    for kind in ("events", "lines"):
        if kind in reply:
            reply[kind] = [_replace_event(event, replace, keep) for event in reply[kind]]
    return reply


def list_values(draft: Draft) -> list[Any]:
    """Return the JSON values of a reply."""
    events = draft.reply.get("events", draft.reply.get("lines", []))
    found = [draft.reply.get("body"), *(event.get("data") for event in events)]
    return [value for value in found if isinstance(value, dict | list)]


def _replace_event(
    event: Mapping[str, Any], replace: Callable[[Any], Any], keep: Callable[[str], str]
) -> dict[str, Any]:
    if "data" not in event:
        return dict(event)
    data = event["data"]
    return {**event, "data": keep(data) if isinstance(data, str) else replace(data)}


def _is_kept(name: str) -> bool:
    return name not in _NOT_KEPT and not name.startswith(("access-control-", "x-mock"))


def _find_framing(answer: RecordedAnswer, operation: Operation) -> Framing | None:
    """Return how the events of a stream stand on the wire; None for what is no stream."""
    response = operation.responses.get(answer.status)
    name = find_media(response.media, answer.headers.get("content-type", "")) if response else None
    contract = response.media[name].stream if response and name else None
    if contract is not None:
        return contract.framing
    if answer.media_type != _EVENTS:
        return None
    return operation.stream.framing if operation.stream else "sse"


def _name_stream(answer: RecordedAnswer, operation: Operation) -> str:
    """Return the Content-Type that the mock sends of its own."""
    response = operation.responses.get(answer.status)
    media = response.media if response else {}
    name = next((name for name, each in media.items() if each.stream), "text/event-stream; charset=utf-8")
    return name if "charset" in name else f"{name}; charset=utf-8"


def _add_type(headers: dict[str, str], answer: RecordedAnswer, expected: str) -> dict[str, Any]:
    """Return `headers` for a reply, with the Content-Type where the mock would send another one."""
    sent = answer.headers.get("content-type", "")
    if sent and sent.lower() != expected.lower():
        headers = {"content-type": sent, **headers}
    return {"headers": headers} if headers else {}


def _draft_body(answer: RecordedAnswer, headers: dict[str, str]) -> Draft:
    kind = answer.media_type
    is_json = kind in ("", JSON) or kind.endswith("+json")
    value = _read_json(answer.body) if answer.body and is_json else None
    if isinstance(value, dict | list) and not answer.cut:
        return Draft({"headers": _add_type(headers, answer, JSON).get("headers", {}), "body": value})
    sent = answer.headers.get("content-type", "")
    typed = {"content-type": sent, **headers} if sent else headers
    text = _read_text(answer.body)
    if text is not None:
        return Draft({"headers": typed, "body": text})
    ending = mimetypes.MimeTypes(filenames=()).guess_extension(kind) or ".bin"
    return Draft({"headers": typed}, file=(ending, answer.body))


def _read_json(body: bytes) -> Any:
    """Return strict JSON that YAML can hold; None for anything else."""
    try:
        value = parse_json(body)
        body.decode().encode()
    except ValueError:
        return None
    return value if can_be_written(value) else None


def _read_text(body: bytes) -> str | None:
    """Return a body that is text; None for one that is not."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
