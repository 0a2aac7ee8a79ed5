"""Parses a multipart body into its fields, as the contract's validation sees them."""

from __future__ import annotations

from typing import Any

from multipart import MultipartSegment, PushMultipartParser, parse_options_header

_PARTS = 10_000  # of one form


def read_form(content_type: str, body: bytes) -> dict[str, Any]:
    """Return the fields of a form: texts, `{filename, content_type, size}` for files, lists where a name is repeated.

    Raises ValueError, saying what is wrong, where the body is no whole form.
    """
    _, options = parse_options_header(content_type)
    if not options.get("boundary"):
        raise ValueError("a form without a boundary")
    fields: dict[str, list[Any]] = {}
    for part, content in _parse_parts(options["boundary"], body):
        name = part.name
        if not name:
            raise ValueError("a part has no name")
        described = {"filename": part.filename, "content_type": part.content_type or "", "size": len(content)}
        fields.setdefault(name, []).append(content.decode("utf-8") if part.filename is None else described)
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}


def _parse_parts(boundary: str, body: bytes) -> list[tuple[MultipartSegment, bytes]]:
    parser = PushMultipartParser(boundary.encode("latin-1", "replace"), max_segment_count=_PARTS)
    found: list[tuple[MultipartSegment, bytearray]] = []
    for piece in (body, b""):
        for event in parser.parse(piece):
            if isinstance(event, MultipartSegment):
                found.append((event, bytearray()))
            elif event is not None:
                found[-1][1].extend(event)
    return [(part, bytes(content)) for part, content in found]
