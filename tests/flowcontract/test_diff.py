"""`flowcontract diff`: every kind of change is seen, said for the right side, and shown by a stream that proves it."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from flowcontract import cli, paths
from flowcontract.diff import Change, Level, compare_apis
from flowcontract.diff.groups import SECTIONS, group_changes
from flowcontract.diff.schemas import Effect, compare_schemas
from flowcontract.diff.streams import OTHER_KIND, find_refused_streams, list_symbols
from flowcontract.schemas.located import Located
from flowcontract.specs.model import load_api
from flowcontract.streams.contract import EventSchema, StreamContract
from flowcontract.streams.judge import judge
from flowcontract.streams.machine import Machine, Symbol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SCHEMAS = [
    ({"type": "string"}, {"type": ["string", "null"]}, Effect.WIDENED),
    ({"type": "string"}, {"type": "string", "x-null": "absent"}, Effect.WIDENED),
    ({"type": "string", "x-null": "absent"}, {"type": "string"}, Effect.NARROWED),
    ({"type": "number"}, {"type": "integer"}, Effect.NARROWED),
    ({"type": "string"}, {"type": "integer"}, Effect.REPLACED),
    ({}, {"type": "string"}, Effect.NARROWED),
    ({"enum": ["a", "b"]}, {"enum": ["a"]}, Effect.NARROWED),
    ({"const": "chat"}, {"enum": ["chat", "advanced-chat"]}, Effect.WIDENED),
    ({}, {"enum": ["a"]}, Effect.NARROWED),
    ({"maxLength": 5}, {"maxLength": 4}, Effect.NARROWED),
    ({"maximum": 5}, {}, Effect.WIDENED),
    ({"minimum": 1}, {"minimum": 0}, Effect.WIDENED),
    ({"format": "uuid"}, {}, Effect.WIDENED),
    ({"pattern": "a"}, {"pattern": "b"}, Effect.UNCLEAR),
    ({"properties": {"a": {}}}, {"properties": {"a": {}}, "required": ["a"]}, Effect.NARROWED),
    ({"properties": {"a": {}}, "required": ["a"]}, {"properties": {"a": {}}}, Effect.WIDENED),
    ({}, {"properties": {"a": {}}}, None),
    ({"properties": {"a": {}}}, {"properties": {"a": False}}, None),
    ({"properties": {"a": {}}, "required": ["a"]}, {"properties": {"a": False}}, Effect.REPLACED),
    ({"properties": {"a": False}}, {"properties": {"a": {"type": "string"}}}, None),
    ({"properties": {"a": False}}, {"properties": {"a": {}}, "required": ["a"]}, Effect.NARROWED),
    ({"properties": {"a": {}}}, {}, None),
    ({"properties": {"a": {}}, "required": ["a"]}, {}, Effect.WIDENED),
    ({"items": {"type": "string"}}, {"items": {}}, Effect.WIDENED),
    ({"additionalProperties": {"type": "string"}}, {}, Effect.WIDENED),
    ({"oneOf": [{"type": "string"}]}, {"oneOf": [{"type": "string"}, {"type": "null"}]}, Effect.UNCLEAR),
    ({"if": {"required": ["a"]}}, {"if": {"required": ["b"]}}, Effect.UNCLEAR),
    ({"allOf": [{"required": ["a"], "properties": {"a": {}}}]}, {"properties": {"a": {}}}, Effect.WIDENED),
]


@pytest.mark.parametrize(("old", "new", "effect"), SCHEMAS, ids=lambda value: json.dumps(value)[:50])
def test_each_keyword_says_what_it_does_to_the_allowed_values(old: Any, new: Any, effect: Effect | None) -> None:
    found = list(compare_schemas(Located({}, old), Located({}, new)))
    assert [difference.effect for difference in found] == [effect]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"title": "A", "x-source": "001:1", "description": "a"}, {"example": 1}),
        ({"allOf": [{"type": "string"}, {"maxLength": 3}]}, {"type": "string", "maxLength": 3}),
        ({"$ref": "#/a"}, {"type": "string"}),
        ({"type": "integer", "properties": {"a": {}}}, {"properties": {"a": {"title": "A"}}, "type": "integer"}),
    ],
)
def test_what_forbids_nothing_is_no_change(old: Any, new: Any) -> None:
    document = {"a": {"type": "string", "description": "a text"}}
    assert list(compare_schemas(Located(document, old), Located(document, new))) == []


def test_a_schema_that_contains_itself_is_compared_in_finite_time() -> None:
    def document(leaf: str) -> dict[str, Any]:
        return {"node": {"properties": {"next": {"$ref": "#/node"}, "value": {"type": leaf}}}}

    old, new = (Located(document(leaf), {"$ref": "#/node"}) for leaf in ("string", "null"))
    found = list(compare_schemas(old, new))
    assert ("value",) in {difference.path for difference in found}


# Whole contracts.


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    """Return a copy of the contract, to be changed."""
    return shutil.copytree(paths.find_specs_root(), tmp_path / "specs")


CHAT_STREAM = "$.paths['/chat-messages'].post.responses['200'].content['text/event-stream']['x-stream']"
CHAT_BODY = "$.components.schemas.ChatMessageRequest"


def compared(specs: Path, *actions: dict[str, Any], api: str = "dify-chat") -> list[Change]:
    """Return what changes an API when an overlay is put on it."""
    folder = specs / api / "profiles"
    folder.mkdir(exist_ok=True)
    overlay = {"overlay": "1.0.0", "info": {"title": "t", "version": "1"}, "actions": list(actions)}
    (folder / "changed.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    return compare_apis(load_api(api, root=specs), load_api(api, root=specs, profile="changed"))


def remove(target: str) -> dict[str, Any]:
    return {"target": target, "remove": True}


def update(target: str, value: Any) -> dict[str, Any]:
    return {"target": target, "update": value}


CONTRACTS = [
    (remove("$.paths['/meta']"), "operation", "breaking", "safe"),
    (remove("$.paths['/conversations'].get.responses['404']"), "response 404", "safe", "look"),
    (
        update("$.paths['/conversations'].get.responses", {"503": {"description": "busy", "x-observed": "1"}}),
        "response 503",
        "look",
        "safe",
    ),
    (
        update("$.paths['/meta'].get.responses", {"202": {"description": "later", "x-observed": "1"}}),
        "response 202",
        "breaking",
        "safe",
    ),
    (
        update("$.paths['/meta'].get", {"parameters": [{"name": "a", "in": "query", "required": True, "schema": {}}]}),
        "query parameter a",
        "breaking",
        "safe",
    ),
    (update("$.paths['/meta'].get", {"security": []}), "security", "breaking", "safe"),
    (update("$.servers[0]", {"url": "https://api.example.com/v2"}), "base path", "breaking", "breaking"),
    (update(CHAT_STREAM, {"silence_s": 30}), "stream silence", "breaking", "safe"),
    (update(CHAT_STREAM, {"silence_s": 5}), "stream silence", "safe", "breaking"),
    (update(CHAT_STREAM, {"framing": "json-blank-line"}), "stream framing", "breaking", "breaking"),
    (remove(f"{CHAT_STREAM}.constant[0]"), "stream constant", "breaking", "safe"),
    (
        update(f"{CHAT_STREAM}.increasing", {"events": ["message"], "field": "created_at", "source": "a"}),
        "stream increasing",
        "safe",
        "breaking",
    ),
    (remove(f"{CHAT_STREAM}.order[?@.name == 'end-then-run']"), "stream order", "safe", "breaking"),
    (
        update(f"{CHAT_STREAM}.order", {"name": "n", "tier": "observed", "source": "a", "is": "message_end"}),
        "stream order",
        "breaking",
        "safe",
    ),
    (
        remove("$.components.schemas['event.message_end'].properties.files"),
        "stream event message_end field files",
        "look",
        "safe",
    ),
    (
        update("$.components.schemas['event.message_end'].properties", {"files": False}),
        "stream event message_end field files",
        "look",
        "breaking",
    ),
    (
        update("$.paths['/chat-messages'].post['x-refusals']", {"unknown-id": "400-invalid-param"}),
        "wrong requests",
        "look",
        "look",
    ),
]


@pytest.mark.parametrize(
    ("action", "place", "clients", "servers"), CONTRACTS, ids=[f"{case[1]}-{case[2]}" for case in CONTRACTS]
)
def test_each_part_of_a_contract_is_compared(
    specs: Path, action: dict[str, Any], place: str, clients: str, servers: str
) -> None:
    found = [change for change in compared(specs, action) if change.place == place]
    assert found, [f"{change.place}: {change.what}" for change in compared(specs, action)]
    assert {(change.clients, change.servers) for change in found} == {(clients, servers)}


def test_a_new_kind_of_event_is_safe_where_unknown_ones_are_ignored(specs: Path) -> None:
    """Clients were told to ignore kinds that they do not know; nothing else about the stream has changed."""
    workflow = compare_apis(load_api("dify-workflow", profile="older"), load_api("dify-workflow"))
    fresh = [change for change in workflow if change.place == "stream event text_chunk"]
    assert [change.clients for change in fresh] == [Level.SAFE]
    assert {change.clients for change in workflow if change.place.startswith("stream order")} <= {Level.SAFE}


def test_a_contract_has_no_changes_against_itself() -> None:
    for name in ("cybertron", "dify-workflow", "dify-chat", "agentbuilder"):
        assert compare_apis(load_api(name), load_api(name)) == []


# Orders.


def order_violations(contract: StreamContract, stream: Sequence[Symbol]) -> list[str]:
    """Judge a stream as the suite does; return what is wrong with its order and its end."""
    blocks = [json.dumps({contract.kind: symbol.kind, **symbol.build_payload()}) for symbol in stream]
    wire = "".join(f"data: {block}\n\n" for block in blocks).encode()
    return [str(one) for one in judge(contract, wire) if one.rule in ("order", "end", "unknown")]


@pytest.mark.parametrize(("old", "new"), [("older", None), (None, "older")])
def test_the_example_of_a_change_passes_one_judge_and_fails_the_other(old: str | None, new: str | None) -> None:
    accepting, refusing = (
        load_api("dify-workflow", profile=name).operations["runWorkflow"].stream for name in (old, new)
    )
    assert accepting
    assert refusing
    for stream in find_refused_streams(of=accepting, by=refusing).values():
        assert order_violations(accepting, stream) == []
        assert order_violations(refusing, stream) != []


def contract(order: str, **more: Any) -> StreamContract:
    """Return a stream contract with one order."""
    spec = {
        "framing": "sse",
        "kind": "event",
        "when": {},
        "unknown": "allowed",
        "end": ["c"],
        "order": [{"name": "all", "tier": "documented", "source": "a", "is": order}],
        **more,
    }
    kinds = [kind for kind in "abc" if kind in order]
    return StreamContract.from_spec(spec, {kind: EventSchema(kind, "", {}, lambda _: []) for kind in kinds})


def accepted(of: StreamContract, symbols: tuple[Symbol, ...], length: int) -> set[tuple[Symbol, ...]]:
    """Return every stream up to a length that a contract accepts, by trying all of them."""
    machine, found = Machine(of), set()
    for stream in itertools.chain.from_iterable(itertools.product(symbols, repeat=n) for n in range(length + 1)):
        state = machine.start
        for symbol in stream:
            state = machine.step(state, symbol) if state else None
        if state and machine.accepts(state):
            found.add(stream)
    return found


def random_order(rng: random.Random, depth: int = 3) -> str:
    if depth == 0 or rng.random() < 0.3:
        return rng.choice("ab") + rng.choice(["", "{x=1}", "{x!=1}", "{x=1|2}"])
    parts = [random_order(rng, depth - 1) for _ in range(rng.randint(1, 3))]
    return f"({rng.choice([' ', ' | ']).join(parts)}){rng.choice(['', '*', '+', '?'])}"


@pytest.mark.parametrize("seed", range(40))
def test_inclusion_agrees_with_trying_every_short_stream(seed: int) -> None:
    """What is said to be refused is refused, as short as can be; where nothing is said, no short stream differs."""
    rng = random.Random(seed)
    left, right = (contract(f"{random_order(rng)} c", after_end=["b"] if rng.random() < 0.3 else ["c"]) for _ in "12")
    symbols, length = list_symbols(left, right), 4
    differing = accepted(left, symbols, length) - accepted(right, symbols, length)
    found = find_refused_streams(of=left, by=right)
    shortest = min(map(len, found.values()), default=None)
    if differing:
        assert shortest == min(map(len, differing))
    else:
        assert shortest is None or shortest > length
    for stream in found.values():
        assert order_violations(left, stream) == []
        assert order_violations(right, stream) != []


def test_a_kind_that_neither_names_is_tried_as_well() -> None:
    strict, open_one = contract("a* c", unknown="rejected"), contract("a* c")
    refused = find_refused_streams(of=open_one, by=strict)
    assert {symbol.kind for symbol in refused[OTHER_KIND]} == {OTHER_KIND, "c"}
    assert find_refused_streams(of=strict, by=open_one) == {}


# The command.


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(list(arguments))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_command_tells_changes_and_whether_something_breaks(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "diff", "dify-workflow=older", "dify-workflow")
    assert status == 1
    assert "GET /site is new" in out
    assert "for instance:" in out
    assert run(capsys, "diff", "dify-workflow", "dify-workflow")[:2] == (0, "No changes.\n")


def test_only_what_concerns_one_side_is_told_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "diff", "dify-workflow=older", "dify-workflow", "--for", "clients", "--format", "json")
    assert {change["clients"] for change in json.loads(out)} == {"breaking", "look"}


RELEASES = ("dify-chat=1.4", "dify-chat=1.14")


def test_what_breaks_clients_is_told_first(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "diff", *RELEASES)
    headings = [line.lower() for line in out.splitlines() if line.isupper()]
    assert headings == [heading for heading, _ in SECTIONS[:-1]]
    assert max(map(len, out.splitlines())) <= 120


def test_what_streams_promise_is_told_in_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    """Who upgrades does not know the words of an `x-stream`; and a count is of all its events together."""
    out = " ".join(run(capsys, "diff", *RELEASES)[1].split())
    for sentence in (
        "workflow_started.data.sequence_number and workflow_finished.data.sequence_number agree - ",
        "each parallel_branch_finished closes a parallel_branch_started of the same data.parallel_branch_id, ",
        "same data.parallel_id and data.parent_parallel_id, before workflow_finished; some may stay open after ",
        "; no node_started comes while another is open whose data.node_id is its data.predecessor_node_id; ",
        "number of node_started and node_retry before workflow_finished is its data.total_steps, unless iteration_",
        "missing-query was answered with 400-invalid-param, now as in other operations ",
    ):
        assert sentence in out


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_a_schema_that_operations_share_is_told_once(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """`Error` stands in ten statuses of fourteen operations; its new field is one change, told with all of them."""
    _, out, _ = run(capsys, "diff", *RELEASES, "--format", form)
    if form == "json":
        found = [each for each in json.loads(out) if (each["schema"], each["field"]) == ("Error", "params")]
        assert [len(each["operations"]) for each in found] == [14]
        assert "response 401 application/json" in found[0]["places"]
    else:
        assert out.count("schema Error field params") == 1
        assert out.count("in response 400, 401, 403, 404, 405, 413, 415, 429, 500, 503 application/json") == 3
    assert len(out.splitlines()) < {"text": 140, "markdown": 155, "json": 1000}[form]


def test_kinds_that_are_refused_in_the_same_place_are_one_change(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "diff", *RELEASES, "--format", "json")
    orders = [each for each in json.loads(out) if each["places"] == ["stream order"]]
    assert any("loop_next or loop_started" in each["what"] for each in orders)
    assert len({tuple(each["example"]) for each in orders}) == len(orders)


def test_an_answer_that_is_the_same_for_all_operations_is_told_once(specs: Path) -> None:
    changes = compared(specs, update("$.components.responses.Unauthorized.content", {"text/plain": {"schema": {}}}))
    assert len({change.operation for change in changes}) > 10
    assert [group.subject for group in group_changes(changes)] == ["response 401"]


def test_markdown_is_a_table_per_operation(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "diff", "dify-workflow=older", "dify-workflow", "--format", "markdown")
    assert "### dify-workflow/getSite" in out
    assert "| safe | breaking | operation | GET /site is new |" in out


def test_folders_and_git_revisions_are_compared(
    capsys: pytest.CaptureFixture[str], specs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = specs.parent
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in (["init", "-q"], ["add", "specs"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], cwd=root, check=True)
    path = specs / "cybertron" / "openapi.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("offlineUploadFile", "uploadOffline"), encoding="utf-8")
    monkeypatch.chdir(root)
    for old, new in (("HEAD", str(specs)), ("HEAD", str(specs / "cybertron"))):
        status, out, err = run(capsys, "diff", old, new, "--api", "cybertron")
        assert (status, err) == (0, "")
        assert "operationId: offlineUploadFile became uploadOffline" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dify-chatt=1", "dify-chat"], 'Did you mean "dify-chat"?'),
        (["dify-workflow=oldr", "dify-workflow"], 'Did you mean "older"?'),
        (["dify-workflow=2", "dify-workflow"], "There is: 0.14, 1.4, 1.14, older."),
        (["dify-chat", "dify-workflow"], "No API is on both sides"),
        (
            ["dify-chat=1.4", "dify-chat=1.14", "--api", "dify-workflow"],
            "dify-chat=1.4 is no contract of dify-workflow. Leave out --api, or say --api dify-chat.",
        ),
        (["no-such-revision", "dify-chat"], "is no API, folder or git revision"),
        (["dify-chta", "dify-chat"], 'Did you mean "dify-chat"?'),
        (
            ["dify-chat", "dify-chat", "--formt", "json"],
            '"--formt" is no option of flowcontract diff. Did you mean "--format"?',
        ),
        (["dify-chat", "dify-chat", "cybertron"], '"cybertron" is no argument of flowcontract diff.'),
        (["--output=/etc/passwd", "dify-chat"], ""),
        (["fixtures", "dify-chat"], "has no folder with an openapi.yaml"),
    ],
)
def test_what_cannot_be_compared_is_said(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(paths.find_specs_root().parent)
    try:
        status, out, err = run(capsys, "diff", *arguments)
    except SystemExit as ended:  # argparse
        status, out, err = int(ended.code or 0), "", capsys.readouterr().err
    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", ["lint", "diff"])
def test_help_of_a_command_names_it_and_has_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """As it is typed, not as the module is called; with what the exit status means."""
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert told.startswith(f"usage: flowcontract {command} [-h]")
    assert f" flowcontract {command} " in told.partition("xample")[2]
    assert "2 misuse" in told


@pytest.mark.parametrize("arguments", [["diff", "dify-chat", "dify-chat"], ["lint"]])
def test_interrupt_is_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """Ctrl-C leaves no verdict, whichever command runs."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flowcontract.diff.cli.open_side", interrupt)
    monkeypatch.setattr("flowcontract.lint.cli.run", interrupt)
    status, out, err = run(capsys, *arguments)
    assert (status, out, err) == (2, "", "flowcontract: interrupted.\n")


def test_a_pipe_that_is_closed_early_is_no_error() -> None:
    program = [sys.executable, "-c", "import sys; from flowcontract.cli import main; sys.exit(main())"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        arguments = ["diff", "dify-workflow=older", "dify-workflow"]
        done = subprocess.run([*program, *arguments], stdout=closed, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "")
