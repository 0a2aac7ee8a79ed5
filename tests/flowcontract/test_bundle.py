"""Bundling: many files become one document, and every part of it remembers where it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowcontract.errors import SpecError
from flowcontract.specs.bundle import bundle

OPENAPI = """
paths:
  /a:
    get:
      responses:
        '200': {$ref: responses/Ok.yaml}
        '400': {$ref: ../shared/responses/Bad.yaml}
components:
  schemas:
    Own: {type: string}
"""


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    """Write a tiny API of five files, one of them shared."""
    files = {
        "api/openapi.yaml": OPENAPI,
        "api/responses/Ok.yaml": "content: {application/json: {schema: {$ref: ../schemas/Thing.yaml}}}",
        "api/schemas/Thing.yaml": (
            "properties:\n  self: {$ref: '#'}\n  part: {$ref: '#/properties/name'}\n  name: {type: string}\n"
            "  event: {$ref: ../events/ping.yaml#/properties/kind}\n"
        ),
        "api/events/ping.yaml": "properties: {kind: {const: ping}}",
        "shared/responses/Bad.yaml": "description: bad",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_every_reference_points_into_the_bundle(specs: Path) -> None:
    """Files become components of their folder's section; a reference within a file follows it to its new place."""
    document = bundle(specs / "api/openapi.yaml", specs=specs).document
    assert document["paths"]["/a"]["get"]["responses"] == {
        "200": {"$ref": "#/components/responses/Ok"},
        "400": {"$ref": "#/components/responses/Bad"},
    }
    assert document["components"]["schemas"] == {
        "Own": {"type": "string"},
        "Thing": {
            "properties": {
                "self": {"$ref": "#/components/schemas/Thing"},
                "part": {"$ref": "#/components/schemas/Thing/properties/name"},
                "name": {"type": "string"},
                "event": {"$ref": "#/components/schemas/event.ping/properties/kind"},
            }
        },
        "event.ping": {"properties": {"kind": {"const": "ping"}}},
    }


def test_a_part_knows_its_file(specs: Path) -> None:
    """A finding made on the bundle can be told at the file that must be mended."""
    bundled = bundle(specs / "api/openapi.yaml", specs=specs)
    assert bundled.find_origin("/components/schemas/Thing/properties/name/type") == (
        specs / "api/schemas/Thing.yaml",
        "/properties/name/type",
    )
    assert bundled.find_origin("/paths/~1a") == (specs / "api/openapi.yaml", "/paths/~1a")


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        ("schemas/Gone.yaml", "names no file"),
        ("../../outside/schemas/X.yaml", "names no file"),
        ("openapi.yaml", "is in none of the folders of parts"),
        ("https://example.com/schemas/X.yaml", "names no file"),
    ],
)
def test_a_reference_that_leads_nowhere_is_told_with_its_file(specs: Path, reference: str, complaint: str) -> None:
    """Nothing outside the specs is read, and nothing is fetched."""
    (specs.parent / "outside/schemas").mkdir(parents=True, exist_ok=True)
    (specs.parent / "outside/schemas/X.yaml").write_text("type: string", encoding="utf-8")
    (specs / "api/events/ping.yaml").write_text(f"$ref: ../{reference}", encoding="utf-8")
    with pytest.raises(SpecError, match=r"ping\.yaml") as caught:
        bundle(specs / "api/openapi.yaml", specs=specs)
    assert complaint in str(caught.value)


def test_two_files_cannot_share_one_name(specs: Path) -> None:
    """A name in the bundle belongs to one file, or a reader could not tell which of them is meant."""
    (specs / "shared/schemas").mkdir()
    (specs / "shared/schemas/Thing.yaml").write_text("type: string", encoding="utf-8")
    (specs / "shared/responses/Bad.yaml").write_text("x: {$ref: ../schemas/Thing.yaml}", encoding="utf-8")
    with pytest.raises(SpecError, match="would share one name"):
        bundle(specs / "api/openapi.yaml", specs=specs)
