"""Sources and rulings are read strictly: a citation that cannot be followed is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowcontract.errors import SpecError, UnknownNameError
from flowcontract.provenance.sources import Source, load_rulings, read_provenance

RULING = """
- number: 1
  name: status-is-an-integer
  lines: [000:181, 000:206]
  readings: [a string, the number 4]
  basis: contradiction
  decision: an integer
  why: the only example
"""


@pytest.mark.parametrize(("text", "source"), [("001:25", ("001", 25, 25)), ("004:275-287", ("004", 275, 287))])
def test_a_source_names_document_and_lines(text: str, source: tuple[str, int, int]) -> None:
    """One line or a range; it prints as it was written."""
    parsed = Source.parse(text)
    assert (parsed.document, parsed.first, parsed.last) == source
    assert str(parsed) == text


@pytest.mark.parametrize("text", ["", "1:2", "001", "001:0", "001:5-4", "001:1-", "001:a", "001:1, 002:3", " 001:1"])
def test_anything_else_is_no_source(text: str) -> None:
    """A citation is not guessed at."""
    with pytest.raises(SpecError):
        Source.parse(text)


def test_provenance_tells_documents_rulings_and_observations_apart() -> None:
    """What a reader sees says which part is documented, ruled or only observed."""
    node = {"x-source": ["001:1", "002:2-3"], "x-ruling": "r", "x-observed": "Dify 1.4.1", "type": "string"}
    assert read_provenance(node) == ("001:1", "002:2-3", "ruling r", "observed: Dify 1.4.1")
    assert read_provenance(True) == ()


def test_rulings_are_read_in_full(tmp_path: Path) -> None:
    """Each field of a ruling is there, and its lines are sources."""
    path = tmp_path / "rulings.yaml"
    path.write_text(RULING, encoding="utf-8")
    (ruling,) = load_rulings(path)
    assert (ruling.number, ruling.name, ruling.decision) == (1, "status-is-an-integer", "an integer")
    assert ruling.lines == (Source("000", 181, 181), Source("000", 206, 206))
    assert ruling.readings == ("a string", "the number 4")


@pytest.mark.parametrize(("old", "new"), [("  why: the only example\n", ""), ("  why", "  because"), ("000:206", "x")])
def test_a_ruling_that_lacks_something_is_refused(tmp_path: Path, old: str, new: str) -> None:
    """A ruling without its reason, or with a field nobody reads, is an error that names the file."""
    path = tmp_path / "rulings.yaml"
    path.write_text(RULING.replace(old, new), encoding="utf-8")
    with pytest.raises(SpecError):
        load_rulings(path)


def test_an_unknown_name_lists_what_there_is() -> None:
    """The error says what was asked, what there is, and what was perhaps meant."""
    message = str(UnknownNameError("API", "dify-chatt", ["dify-chat", "cybertron"], hint="See specs/."))
    assert message == 'No API "dify-chatt". There is: cybertron, dify-chat. Did you mean "dify-chat"? See specs/.'
