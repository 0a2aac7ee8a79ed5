"""What a demand rests on: tiers follow from the provenance, and the printed lines travel with the package."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from flowcontract import paths, pointers, yamlio
from flowcontract.lint import run
from flowcontract.provenance.evidence import MAX_QUOTE, Tier, fails, find_tier, find_weakest, quote
from flowcontract.provenance.sources import Ruling, Source, read_provenance
from flowcontract.schemas.violations import Violation, rate
from flowcontract.specs.model import load_apis

APIS = load_apis()


def ruling(name: str, basis: str, *derives: str) -> Ruling:
    """Return a ruling of which only the basis matters."""
    return Ruling(1, name, (), (), "", "", basis, tuple(map(Source.parse, derives)))


RULINGS = {
    "decides": ruling("decides", "contradiction"),
    "fills": ruling("fills", "gap"),
    "derives": ruling("derives", "gap", "001:2"),
}


@pytest.mark.parametrize(
    ("sources", "tier"),
    [
        (["001:25-58"], Tier.DOCUMENT),
        (["001:25-58", "observed: Dify 1.4.1"], Tier.DOCUMENT),
        (["001:25-58", "ruling decides"], Tier.RULING),
        (["001:25-58", "ruling derives"], Tier.RULING),
        (["001:25-58", "ruling fills"], Tier.OBSERVED),
        (["001:25-58", "ruling decides", "ruling fills"], Tier.OBSERVED),
        (["ruling derives", "observed: Dify 1.14.2"], Tier.RULING),
        (["ruling fills", "observed: Dify 1.14.2"], Tier.OBSERVED),
        (["ruling decides", "observed: Dify 1.14.2"], Tier.OBSERVED),
        (["observed: Dify 0.14.0, 1.4.1"], Tier.OBSERVED),
        (["Dify 0.14.0, 1.4.1 (165_chat_streaming)"], Tier.OBSERVED),
        (["observed: RFC 9110, 15.5.6"], Tier.STANDARD),
        (["RFC 9110, 15.5.6"], Tier.STANDARD),
        (["WHATWG HTML, 9.2.6"], Tier.STANDARD),
        (["observed: RFC 9110, 15.5.6", "observed: Dify 1.4.1"], Tier.OBSERVED),
        (["ruling fills"], Tier.OBSERVED),
        ([], Tier.STANDARD),
    ],
)
def test_tier_follows_from_the_provenance(sources: list[str], tier: Tier) -> None:
    """Lines are a document, what decides between them is a ruling, what fills a silence an observation."""
    assert find_tier(sources, RULINGS) is tier


@pytest.mark.parametrize(
    ("bar", "red"),
    [
        (Tier.DOCUMENT, {"document", "server-error"}),
        (Tier.RULING, {"document", "ruling", "server-error"}),
        (Tier.OBSERVED, {"document", "ruling", "observed", "server-error"}),
        (Tier.STANDARD, {"document", "ruling", "observed", "standard", "server-error"}),
    ],
)
def test_bar_lets_pass_what_is_weaker_but_no_server_error(bar: Tier, red: set[str]) -> None:
    """A server error is red however little is demanded."""
    assert {str(tier) for tier in Tier if fails(tier, bar)} == red
    assert fails(Tier.RULING)
    assert not fails(Tier.OBSERVED)


def test_violation_is_no_firmer_than_it_was_made_or_than_its_source() -> None:
    """The weakest link decides, and a server error stays one."""
    found = [
        Violation("a", "", "", source=("001:1",)),
        Violation("b", "", "", source=("001:1",), tier=Tier.OBSERVED),
        Violation("c", "", "", source=("RFC 9110, 15.5.6",)),
        Violation("d", "", "", source=("001:1",), tier=Tier.SERVER_ERROR),
    ]
    tiers = [violation.tier for violation in rate(found, RULINGS)]
    assert tiers == [Tier.DOCUMENT, Tier.OBSERVED, Tier.STANDARD, Tier.SERVER_ERROR]
    assert find_weakest([Tier.RULING, Tier.STANDARD, Tier.DOCUMENT]) is Tier.STANDARD


def test_quotation_is_the_printed_lines_under_their_title() -> None:
    """A source is quoted word for word, and what would fill a page is cut."""
    found = quote("001:92")
    assert found is not None
    assert found.title == "Dify, Workflow App API (English template)"
    assert "sequence_number" in found.text
    long = quote("004:1-1061")
    assert long is not None
    assert len(long.text) == MAX_QUOTE
    assert quote("observed: Dify 1.4.1") is None
    assert quote("999:1") is None


def test_documents_that_travel_are_the_ones_that_were_read() -> None:
    """Each has the checksum and the number of lines that `sources.yaml` says."""
    listed = yamlio.load(paths.find_specs_root() / "sources.yaml")["documents"]
    for about in listed.values():
        raw = (paths.find_specs_root() / "documents" / about["file"]).read_bytes()
        assert hashlib.sha256(raw).hexdigest() == about["sha256"]
        assert len(raw.rstrip(b"\n").split(b"\n")) <= about["lines"] <= len(raw.split(b"\n"))


def test_every_ruling_of_the_contract_is_known_to_every_api_by_its_whole_name() -> None:
    """Parts that two APIs share name rulings of one of them; what they rest on is found all the same."""
    chat, workflow = APIS["dify-chat"].rulings, APIS["dify-workflow"].rulings
    assert chat["dify-workflow/ids-are-strings"] == workflow["ids-are-strings"]
    assert "ids-are-strings" not in chat
    assert {name for name in chat if "/" in name} == {name for name in workflow if "/" in name}


@pytest.mark.parametrize(
    ("api", "pointer", "tier"),
    [
        ("dify-chat", "/components/schemas/WorkflowStarted/properties/sequence_number", Tier.RULING),
        ("dify-chat", "/components/schemas/ChatCompletionResponse/properties/mode", Tier.RULING),
        ("dify-chat", "/components/schemas/event.message_file", Tier.DOCUMENT),
        ("dify-chat", "/components/schemas/event.workflow_started/properties/message_id", Tier.OBSERVED),
        ("dify-chat", "/components/responses/MethodNotAllowed/headers/Allow", Tier.STANDARD),
        ("cybertron", "/components/responses/MethodNotAllowed", Tier.STANDARD),
        ("agentbuilder", "/components/schemas/ListedUserFile", Tier.DOCUMENT),
        ("agentbuilder", "/components/schemas/RunResult", Tier.OBSERVED),
    ],
)
def test_parts_of_the_contract_weigh_what_they_rest_on(api: str, pointer: str, tier: Tier) -> None:
    """A ruling that relaxes a line leaves a demand, one that describes what no line has leaves a note."""
    assert find_tier(read_provenance(pointers.resolve(APIS[api].bundle, pointer)), APIS[api].rulings) is tier


def test_document_that_was_changed_is_a_finding(tmp_path) -> None:
    """`nox -s specs` compares each document with the checksum of the one that was read."""
    sample = Path(shutil.copytree(Path(__file__).parents[1] / "data" / "lint" / "sample", tmp_path / "sample"))
    documents = yamlio.load(sample / "specs" / "sources.yaml")["documents"]
    (sample / "specs" / "documents").mkdir()
    assert sum("There is no" in str(one) or "there is no" in str(one) for one in findings(sample)) == len(documents)
    for about in documents.values():
        (sample / "specs" / "documents" / about["file"]).write_text("another text", encoding="utf-8")
    found = [str(finding) for finding in findings(sample)]
    assert sum("is not the document that the sources refer to" in text for text in found) == len(documents)


def findings(root):
    return run(root / "specs", root / "fixtures", ())
