"""What `nox -s langflow` brings along: a flow that any version can build, a target, differences with their reasons."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from contract_tests.config.target import load_target
from contract_tests.report.deviations import Deviations
from flowcontract.specs.model import load_apis

ROOT = Path(__file__).resolve().parents[2]
LANGFLOW = ROOT / "tests" / "langflow"
sys.path.insert(0, str(LANGFLOW))

import table  # noqa: E402 - lies beside the program that runs Langflow
from langflow_server import FLOWS, built, environment  # noqa: E402 - the same
from table import CONFIRMED, PAGE  # noqa: E402 - the same

APIS = load_apis()
COMPONENTS = {
    "input_output": {
        "ChatInput": {"outputs": [{"name": "message", "types": ["Message"]}], "template": {}},
        "ChatOutput": {
            "outputs": [],
            "template": {"input_value": {"input_types": ["Data", "Message"], "type": "other"}},
        },
    },
    "component_display_names": {},
}


def test_flow_is_built_from_what_a_version_says_of_its_components():
    """Nodes carry the server's own definitions, and the edge the types that both ends have there."""
    flow = built(FLOWS["FLOW_ID"], COMPONENTS)
    assert [node["data"]["node"] for node in flow["nodes"]] == list(COMPONENTS["input_output"].values())
    [edge] = flow["edges"]
    assert edge["data"]["sourceHandle"]["output_types"] == ["Message"]
    assert edge["data"]["targetHandle"]["inputTypes"] == ["Data", "Message"]
    assert json.loads(edge["targetHandle"].replace("œ", '"')) == edge["data"]["targetHandle"]


def test_component_that_a_version_does_not_have_is_told():
    """A later Langflow may have renamed it."""
    with pytest.raises(LookupError, match=r"no component ChatInput, ChatOutput\. Change the flow"):
        built(FLOWS["FLOW_ID"], {"input_output": {"Webhook": {}}})


def test_server_keeps_to_its_folder_and_takes_no_setting_of_this_machine(tmp_path):
    """Whoever has a Langflow of their own keeps it as it is."""
    found = environment(
        {"PATH": "/bin", "LANGFLOW_DATABASE_URL": "postgresql://mine", "HOME": "/home/me"},
        tmp_path,
        {"username": "u", "password": "p"},
    )
    assert found["PATH"] == "/bin"
    assert {name for name, value in found.items() if str(tmp_path) in value} == {
        "HOME", "LANGFLOW_CONFIG_DIR", "LANGFLOW_DATABASE_URL",
    }  # fmt: skip
    assert found["DO_NOT_TRACK"] == "true"


def test_target_file_wants_what_the_server_tells(monkeypatch):
    """Key, token and flow come by the names of the documents' own variables."""
    told = {"LANGFLOW_URL": "http://127.0.0.1:1", "LANGFLOW_API_KEY": "k", "LANGFLOW_TOKEN": "t", "FLOW_ID": "f"} | {
        "FILE_FLOW_ID": "g"
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    target = load_target({"agentbuilder": APIS["agentbuilder"]}, file=LANGFLOW / "target.toml")
    api = target.apis["agentbuilder"]
    assert (api.base_url, api.values) == ("http://127.0.0.1:1/api", {"flow_id": "f"})
    assert api.keys == {"apiKey": "k", "apiKeyInQuery": "k", "bearer": "t"}
    tweaked = re.findall(r"tweaks = \{ ([\w-]+)", (LANGFLOW / "target.toml").read_text(encoding="utf-8"))
    assert target.apis["agentbuilder"].examples["runFlow"]["document"].values == {"flow_id": "g"}
    assert set(tweaked) == {"ChatInput-b67sL"} <= {node["id"] for node in FLOWS["FLOW_ID"]["nodes"]}


def test_version_that_is_installed_has_its_deviations_written_down():
    """The session compares with the file of the version that it pins."""
    version = re.search(r'^LANGFLOW = "(.+)"$', (ROOT / "noxfile.py").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert (LANGFLOW / f"deviations-{version}.toml").is_file()


@pytest.mark.parametrize("path", sorted(LANGFLOW.glob("deviations-*.toml")), ids=lambda path: path.stem)
def test_every_deviation_is_of_an_operation_that_exists_and_has_a_reason_of_its_own(path):
    """A reason says what this version answers; where a line of the document speaks against it, it cites the line."""
    api = APIS["agentbuilder"]
    operations = {name for one in api.operations.values() for name in (one.name, f"{one.name}/fuzzed")}
    version = path.stem.removeprefix("deviations-")
    entries = Deviations.load(path).entries
    assert len({one.id for one in entries}) == len(entries)
    for one in entries:
        assert one.about in operations
        assert one.reason.startswith(f"{version} "), one.id
        assert "003:" in one.reason or "in no line" in one.reason, one.id


def read_rows(page, heading):
    """Return the cells of the table below a heading."""
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table[1:]]


def test_each_difference_of_the_two_releases_was_seen_elsewhere_too():
    """In the notes, in recordings or by hand: each row of the page says where, and no other is confirmed."""
    page = PAGE.read_text(encoding="utf-8")
    confirmed = yaml.safe_load(CONFIRMED.read_text(encoding="utf-8"))
    rows = {" | ".join(cells[:5]): cells[6] for cells in read_rows(page, "All differences")}
    assert rows == {name: ", ".join(places) for name, places in confirmed["rows"].items()}
    places = [place for found in confirmed["rows"].values() for place in found]
    assert [place for place in places if not re.fullmatch(r"notes|`\w+`|by hand: .+", place)] == []
    assert min(map(len, confirmed["rows"].values())) > 0
    asked = [cells[0] for cells in read_rows(page, "Asked by hand")]
    assert asked == [each["name"] for each in confirmed["by hand"]]
    assert set(asked) == {place.removeprefix("by hand: ") for place in places if place.startswith("by hand: ")}


def test_difference_that_nobody_confirmed_does_not_reach_the_page(tmp_path, monkeypatch):
    """Whoever finds one has to look for it first."""
    difference = {"operation": "agentbuilder/runFlow", "status": "200", "what": "body /new", "old": "1", "new": "2"}
    compared = tmp_path / "compare.json"
    compared.write_text(
        json.dumps({"differences": [{**difference, "verdict": "the contract allows both", "because": []}]})
    )
    monkeypatch.setattr(table, "PAGE", tmp_path / "page.md")
    with pytest.raises(LookupError, match=r"runFlow \| 200 \| body /new"):
        table.main(str(compared), "2030-12-31")
    assert not (tmp_path / "page.md").exists()
