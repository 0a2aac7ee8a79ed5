"""Every fact of the five documents, written down a second time from the documents themselves, holds in the contract.

`data/inventory/*.yaml` has one file per document. A field is a row of a table: its line, its path, its types, whether
the document demands it, and its bounds. A row is shown by breaking it: the document's own sample is changed in this
field alone, and the judge has to notice. `data/inventory/README.md` says what each column means.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowcontract import paths, pointers, yamlio
from flowcontract.provenance.sources import Source, read_provenance
from flowcontract.schemas.decoding import ABSENT
from flowcontract.schemas.keywords import RELATIONS
from flowcontract.schemas.media_types import find_media
from flowcontract.specs.model import Api, Operation, list_apis, load_api
from flowcontract.streams.judge import StreamJudge
from flowcontract.streams.rules import Rule
from flowcontract.streams.sse import encode
from flowcontract.validation.request import check_request
from flowcontract.validation.response import find_response_violations

FOLDER = Path(__file__).parents[1] / "data" / "inventory"
FILES = tuple(sorted(FOLDER.glob("*.yaml")))

# JSON type -> a value of it that no enumeration, format or pattern of the contract accepts by chance
PROBES: Mapping[str, Any] = {
    "string": "?? ?",
    "integer": 99999999999999,
    "number": 0.5,
    "boolean": True,
    "object": {"unheard-of": 1},
    "array": [["unheard-of"]],
    "null": None,
}
NOT_OF = {  # format -> texts that are not of it
    "uuid": ["5ad498-f0c7", ""],
    "uri": ["no address", ""],
    "address": ["no address", "address", ""],
    "date-time": ["yesterday", "2025-13-01T00:00:00"],
    "decimal": ["cheap", "1,5"],
    "base64": ["not base64!"],
    "hex": ["red", "FFEAD5"],
    "media type": ["png"],
    "JSON": ["no JSON"],
    "six digits": ["0", "0000000"],
    "upload path": ["your_file.txt"],
}
EPOCH = {"milliseconds": 1705395332000, "before 1970": -1}


@dataclass(frozen=True)
class Row:
    """One field of a document: where it stands, what it is."""

    line: int
    path: tuple[str | int, ...]
    types: frozenset[str]
    required: bool
    bounds: Mapping[str, str]


@dataclass(frozen=True)
class Part:
    """A table of fields with a sample that has them all: a body, an answer, an event or the parameters."""

    document: str
    api: str
    operation: str
    place: str  # parameters | body | an event's kind | a status
    sample: Any
    rows: tuple[Row, ...]
    conditions: tuple[Mapping[str, Any], ...]
    headers: Mapping[str, str]

    def __str__(self) -> str:
        """Return the id that a failing test is found by."""
        return f"{self.document}-{self.api}-{self.operation}-{self.place}"


@cache
def api(name: str) -> Api:
    """Read one API once."""
    return load_api(name)


def rows(table: str) -> Iterator[Row]:
    """Read a table: columns are separated by two blanks or more."""
    for text in table.strip().splitlines():
        line, path, types, presence, *bounds = re.split(r"\s{2,}", text.strip())
        assert presence in ("required", "optional"), text
        tokens = tuple(int(token) if token.isdigit() else token for token in path.split("."))
        pairs = dict(one.split("=", 1) for one in bounds)
        yield Row(int(line), tokens, frozenset(types.split("|")), presence == "required", pairs)


def _part(document: str, api_name: str, operation: str, place: str, part: Mapping[str, Any]) -> Part:
    return Part(
        document,
        api_name,
        operation,
        place,
        part.get("sample", {}),
        tuple(rows(part["fields"])),
        tuple(part.get("conditions", ())),
        part.get("headers", {}),
    )


def _parts(file: Path) -> Iterator[Part]:
    inventory = yamlio.load(file)
    document, api_name = inventory["document"], inventory["api"]
    for operation, parts in inventory["operations"].items():
        for place in ("parameters", "body"):
            if place in parts:
                yield _part(document, api_name, operation, place, parts[place])
        for place, part in {**parts.get("answers", {}), **parts.get("events", {})}.items():
            yield _part(document, api_name, operation, place, part)


PARTS = [part for file in FILES for part in _parts(file)]
CASES = [(part, row) for part in PARTS for row in part.rows]
IDS = [f"{part}-{row.line}-{'.'.join(map(str, row.path))}" for part, row in CASES]
CONDITIONS = [(part, one) for part in PARTS for one in part.conditions]


def operation_of(part: Part) -> Operation:
    """Return the operation that a part belongs to."""
    return api(part.api).operations[part.operation]


def judged(part: Part, value: Any, headers: Mapping[str, str] | None = None) -> list[str]:
    """Return the places where a value of a part breaks the contract, dotted; '' is the whole."""
    operation, validators = operation_of(part), api(part.api).validators
    if part.place in ("parameters", "body"):
        found = _judged_request(part, operation, value, part.headers if headers is None else headers)
        return [violation.field for violation in found]
    if part.place.isdigit():
        content_type = {"Content-Type": "application/json"}
        found_there = find_response_violations(validators, operation, int(part.place), content_type, value)
    else:
        assert operation.stream is not None
        found_there = operation.stream.events[part.place].validate(value)
    return [_dotted(one.where) for one in found_there if f"x-{one.rule}" not in RELATIONS]  # a field by itself


def _judged_request(part: Part, operation: Operation, value: Any, headers: Mapping[str, str]) -> Any:
    sent: dict[str, Any] = {"path": {}, "query": {}, "header": dict(headers)}
    wanted = [one for one in operation.parameters if one.required]
    if part.place == "parameters":
        for location in ("path", "query", "header"):
            sent[location] = {name: text for name, text in value.get(location, {}).items() if text is not None}
    else:
        for parameter in wanted:
            sent[parameter.location][parameter.name] = "92f9a4c5-cfc8-4656-ae63-1f0881163c28"
    media = next(iter(operation.request), "")
    body = value if part.place == "body" else copy.deepcopy(_body_sample(part))
    checked = check_request(
        api(part.api).validators,
        operation,
        path=sent["path"],
        query={name: [text] for name, text in sent["query"].items()},
        headers=sent["header"],
        body=body if media else ABSENT,
        media_type=media,
    )
    return checked.violations


def _body_sample(part: Part) -> Any:
    return next((one.sample for one in PARTS if (one.api, one.operation, one.place) == _body_of(part)), {})


def _body_of(part: Part) -> tuple[str, str, str]:
    return (part.api, part.operation, "body")


def _dotted(pointer: str) -> str:
    return ".".join(pointers.split(pointer))


def changed(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    """Return a copy with another value at a path, or without it where `new` is ABSENT."""
    result = copy.deepcopy(value)
    here = result
    for token in path[:-1]:
        here = here[token]
    if new is ABSENT:
        del here[path[-1]]
    else:
        here[path[-1]] = new
    return result


def is_blamed(part: Part, row: Row, new: Any) -> bool:
    """Tell whether the judge blames this field, or what is around it or in it, once it has another value."""
    dotted = ".".join(map(str, row.path if part.place != "parameters" else row.path[1:]))
    places = judged(part, changed(part.sample, row.path, new))
    if part.place == "parameters":
        return dotted in places
    return any(dotted.startswith(place) or place.startswith(dotted) for place in places)


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_the_printed_sample_fits(part: Part):
    """What the document prints, completed by the fields that it leaves out, breaks nothing."""
    assert judged(part, part.sample) == []


NAMED = [number for number, (_, row) in enumerate(CASES) if isinstance(row.path[-1], str)]  # no items of lists


@pytest.mark.parametrize(("part", "row"), [CASES[n] for n in NAMED], ids=[IDS[n] for n in NAMED])
def test_a_field_is_missed_where_the_document_demands_it(part: Part, row: Row):
    """A required field that is missing is noticed, an optional one is not."""
    assert is_blamed(part, row, ABSENT) == row.required


@pytest.mark.parametrize(("part", "row"), CASES, ids=IDS)
def test_a_field_of_a_wrong_type_is_noticed(part: Part, row: Row):
    """Every JSON type that the document does not give the field is refused, null included; null passes where it may."""
    accepted = [name for name in _wrong_types(part, row) if not is_blamed(part, row, PROBES[name])]
    assert accepted == []
    if "null" in row.types and part.place != "parameters":
        assert judged(part, changed(part.sample, row.path, None)) == []


def _wrong_types(part: Part, row: Row) -> list[str]:
    if row.types == {"any"}:
        return []
    if part.place == "parameters":
        return ["string"] if "string" not in row.types else []
    if "multipart/form-data" in operation_of(part).request and part.place == "body":
        return []  # all is text or file there; what the text has to be, the other tests show
    known = row.types | ({"integer"} if "number" in row.types else set())
    return [name for name in PROBES if name not in known]


BOUND = [number for number, (_, row) in enumerate(CASES) if set(row.bounds) - {"by", "default"}]


@pytest.mark.parametrize(("part", "row"), [CASES[n] for n in BOUND], ids=[IDS[n] for n in BOUND])
def test_a_field_is_held_to_its_bounds(part: Part, row: Row):
    """Values out of an enumeration, of a format, or beyond a limit are refused, the documented ones are taken."""
    for value in _inside(part, row):
        assert not is_blamed(part, row, value), f"{value!r} is documented"
    for value in _outside(part, row):
        assert is_blamed(part, row, value), f"{value!r} is not what the document says"


def _inside(part: Part, row: Row) -> Iterator[Any]:
    numeric = "integer" in row.types and "string" not in row.types and part.place != "parameters"
    for text in row.bounds.get("enum", "").split(", ") if "enum" in row.bounds else ():
        value = "" if text == "empty" else text
        yield int(value) if numeric else value
    for bound in ("min", "max"):
        if bound in row.bounds:
            yield row.bounds[bound] if part.place == "parameters" else int(row.bounds[bound])
    if "clamp" in row.bounds:  # more is answered as this much
        yield from (row.bounds["clamp"], str(int(row.bounds["clamp"]) + 1))


def _outside(part: Part, row: Row) -> Iterator[Any]:
    numeric = "integer" in row.types and "string" not in row.types and part.place != "parameters"
    if "enum" in row.bounds:
        yield 99 if numeric else "unheard-of"
    for bound, step in (("min", -1), ("max", 1)):
        if bound in row.bounds:
            beyond = int(row.bounds[bound]) + step
            yield str(beyond) if part.place == "parameters" else beyond
    if "bytes" in row.bounds:
        yield {"filename": "large.mp3", "content_type": "audio/mp3", "size": int(row.bounds["bytes"]) + 1}
    if "media" in row.bounds:
        yield {"filename": "letter.txt", "content_type": "text/plain", "size": 1}
    if "items" in row.bounds:
        yield []
    if row.bounds.get("not") == "empty":
        yield ""
    if "format" in row.bounds:
        yield from EPOCH.values() if row.bounds["format"] == "epoch" else NOT_OF[row.bounds["format"]]


def holders(part: Part, path: tuple[str | int, ...]) -> list[Mapping[str, Any]]:
    """Return what the contract says of a field, at every place where it says something."""
    operation, bundle = operation_of(part), api(part.api).bundle
    if part.place == "parameters":
        location, name = map(str, path)
        found = [one for one in operation.parameters if (one.location, one.name) == (location, name)]
        return [{**one.schema, "provenance": one.provenance} for one in found]
    if part.place == "body":
        pointer = next(iter(operation.request.values())).pointer
    elif part.place.isdigit():
        pointer = operation.responses[int(part.place)].media["application/json"].pointer
    else:
        assert operation.stream is not None
        pointer = operation.stream.events[part.place].pointer
    nodes = [pointers.resolve(bundle, pointer)]
    for token in path:
        nodes = [inner for node in nodes for inner in _below(bundle, node, token)]
    return [one for node in nodes for one in _all_of(bundle, node)]


def _all_of(bundle: Mapping[str, Any], node: Any) -> Iterator[Mapping[str, Any]]:
    """Yield a schema and every schema that says something of the same value."""
    if not isinstance(node, dict):
        return
    yield node
    if "$ref" in node:
        yield from _all_of(bundle, pointers.resolve(bundle, node["$ref"].removeprefix("#")))
    for key in ("allOf", "anyOf", "oneOf"):
        for one in node.get(key, ()):
            yield from _all_of(bundle, one)
    for key in ("then", "else"):
        if key in node:
            yield from _all_of(bundle, node[key])


def _below(bundle: Mapping[str, Any], node: Any, token: str | int) -> Iterator[Any]:
    for one in _all_of(bundle, node):
        if isinstance(token, int):
            yield from [one["items"]] if "items" in one else []
        elif token in one.get("properties", {}):
            yield one["properties"][token]
        elif isinstance(one.get("additionalProperties"), dict):
            yield one["additionalProperties"]


@pytest.mark.parametrize(("part", "row"), CASES, ids=IDS)
def test_a_field_names_its_line_and_its_default(part: Part, row: Row):
    """The contract rests the field on the line where the document has it, and knows the document's default."""
    found = holders(part, row.path)
    assert found, "the contract does not name the field"
    around = holders(part, row.path[:-1]) if isinstance(row.path[-1], int) else []  # a list speaks for its items
    assert row.line in {line for one in (*found, *around) for line in _lines(part, one)}
    if "default" in row.bounds:
        assert [one["default"] for one in found if "default" in one] == [yaml.safe_load(row.bounds["default"])]


def _lines(part: Part, node: Mapping[str, Any]) -> Iterator[int]:
    for text in (*read_provenance(node), *node.get("provenance", ())):
        yield from _cited(part.document, text)


@pytest.mark.parametrize(("part", "condition"), CONDITIONS, ids=[f"{p}-{c['line']}-{c['says']}" for p, c in CONDITIONS])
def test_a_condition_holds(part: Part, condition: Mapping[str, Any]):
    """What the document demands of several fields together: the sample is changed, and breaks there, or does not."""
    value = copy.deepcopy(part.sample)
    for name, new in condition["change"].items():
        value = changed(value, tuple(int(one) if one.isdigit() else one for one in name.split(".")), new)
    for name in condition.get("without", ()):
        del value[name]
    places = judged(part, value, condition.get("headers"))
    if "breaks" in condition:
        assert condition["breaks"] in places
    else:
        assert places == []


FACTS = [(one["document"], one["api"], *fact) for one in map(yamlio.load, FILES) for fact in one.get("facts", ())]


@pytest.mark.parametrize("fact", FACTS, ids=[f"{document}-{line}-{at}" for document, _, line, at, _ in FACTS])
def test_a_single_fact_stands_at_its_place(fact: tuple[str, str, int, str, Any]):
    """Addresses, headers, media types and whatever else is no field stands in the contract as the document has it."""
    _, api_name, _, pointer, expected = fact
    assert pointers.resolve(api(api_name).bundle, pointer) == expected


ADDRESSES = [
    (inventory["api"], name, parts["request"], parts.get("media"))
    for inventory in map(yamlio.load, FILES)
    for name, parts in inventory["operations"].items()
    if "request" in parts
]


@pytest.mark.parametrize("address", ADDRESSES, ids=[f"{name}-{operation}" for name, operation, _, _ in ADDRESSES])
def test_an_operation_has_its_address_and_media_type(address: tuple[str, str, str, str | None]):
    """Method, path and the media type of the body are those of the printed command."""
    api_name, name, request, media = address
    operation = api(api_name).operations[name]
    assert f"{operation.method} {api(api_name).base_path}{operation.path}" == request
    assert list(operation.request) == ([media] if media else [])


KINDS_OF_BODIES = [
    (inventory["document"], inventory["api"], operation, *kind)
    for inventory in map(yamlio.load, FILES)
    for operation, parts in inventory["operations"].items()
    for kind in parts.get("media types", ())
]


@pytest.mark.parametrize("kind", KINDS_OF_BODIES, ids=["-".join(map(str, kind)) for kind in KINDS_OF_BODIES])
def test_an_answer_has_its_media_type(kind: tuple[str, str, str, int, int, str]):
    """An answer of the printed media type is taken, one of another is not."""
    _, api_name, name, _, status, media = kind
    operation, validators = api(api_name).operations[name], api(api_name).validators
    assert find_media(operation.responses[status].media, media) is not None
    page = find_response_violations(validators, operation, status, {"Content-Type": "text/html"}, b"<p>")
    assert [violation.rule for violation in page] == ["media-type"]


def test_every_operation_is_in_the_inventory():
    """An operation that no document names would be ours alone."""
    named = {(api_name, operation) for api_name, operation, _, _ in ADDRESSES}
    assert named == {(name, operation) for name in list_apis() for operation in api(name).operations}


STREAMS = [
    (inventory["document"], inventory["api"], operation, *stream)
    for inventory in map(yamlio.load, FILES)
    for operation, parts in inventory["operations"].items()
    for stream in parts.get("streams", ())
]


@pytest.mark.parametrize("stream", STREAMS, ids=["-".join(map(str, stream[:5])) for stream in STREAMS])
def test_a_stream_of_the_samples_is_taken_or_refused(stream: tuple[str, str, str, int, str, str, bool]):
    """The order in which the document lets events come is taken, any other is not."""
    document, api_name, operation, _, _, kinds, accepted = stream
    contract = api(api_name).operations[operation].stream
    assert contract is not None
    samples = {part.place: part.sample for part in PARTS if (part.document, part.operation) == (document, operation)}
    judge = StreamJudge(contract)
    raw = b"".join(_block(samples[kind]) for kind in kinds.split())
    assert (judge.feed(raw) + judge.close() == []) == accepted


ONE_OF_EACH = {"task_id": "t", "message_id": "m", "conversation_id": "c", "workflow_run_id": "r", "created_at": 1}


def _block(sample: Mapping[str, Any]) -> bytes:
    """Write an event with the ids of one stream, which the printed samples take from several."""
    if len(sample) == 1:
        return encode(event=sample["event"])
    payload = copy.deepcopy({**sample, **{name: new for name, new in ONE_OF_EACH.items() if name in sample}})
    if sample["event"].startswith("workflow_"):
        payload["data"] |= {"id": "r", "workflow_id": "w"}
    if sample["event"] == "message":
        payload["id"] = "m"
    return encode(json.dumps(payload))


RULES = [
    (operation, rule)
    for operation in dict.fromkeys((part.api, part.operation) for part in PARTS)
    if (stream := api(operation[0]).operations[operation[1]].stream)
    for rule in stream.rules
]


@pytest.mark.parametrize(("operation", "rule"), RULES, ids=[f"{one[1]}-{rule.place}" for one, rule in RULES])
def test_a_rule_of_a_stream_cites_lines_about_its_fields(operation: tuple[str, str], rule: Rule):
    """A single line that a rule rests on lists one of the rule's fields, the kind of its events, or a condition."""
    tokens = {"event", *(token for _, path in rule.list_fields() for token in path.split("."))}
    about = {f"{part.document}:{row.line}" for part, row in CASES if row.path[-1] in tokens}
    about |= {f"{part.document}:{one['line']}" for part, one in CONDITIONS if (part.api, part.operation) == operation}
    cited = {text for text in rule.source if re.fullmatch(r"\d{3}:\d+", text)}
    assert cited <= about


STATUSES = [
    (inventory["document"], inventory["api"], operation, *status)
    for inventory in map(yamlio.load, FILES)
    for operation, parts in inventory["operations"].items()
    for status in parts.get("statuses", ())
]


@pytest.mark.parametrize("answer", STATUSES, ids=["-".join(map(str, status)) for status in STATUSES])
def test_a_status_and_its_code_are_answers(answer: tuple[str, str, str, int, int, str | None]):
    """Each printed status is an answer of its operation, each printed code one of its named examples, with its line."""
    document, api_name, operation, line, status, code = answer
    response = api(api_name).operations[operation].responses[status]
    node = response.media["application/json"].examples[code] if code else response
    assert line in {number for text in node.provenance for number in _cited(document, text)}
    if code and api_name != "cybertron":  # whose codes are numbers that no document prints
        assert response.media["application/json"].examples[code].value["code"] == code


def _cited(document: str, text: str) -> range:
    match = re.fullmatch(rf"{document}:(\d+)(?:-(\d+))?", text)
    return range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)


RULED = [number for number, (_, row) in enumerate(CASES) if "by" in row.bounds]


@pytest.mark.parametrize(("part", "row"), [CASES[n] for n in RULED], ids=[IDS[n] for n in RULED])
def test_what_departs_from_a_line_names_a_ruling(part: Part, row: Row):
    """A row that says `by` rests on a ruling that there is."""
    owner, _, name = row.bounds["by"].rpartition("/")
    assert name in api(owner or part.api).rulings


def test_every_line_of_a_document_that_owns_a_field_is_in_the_inventory():
    """A field that `sources.yaml` finds in a document has a row here, or the single fact or status that it is."""
    missing = [
        str(source)
        for document, entry in yamlio.load(paths.find_specs_root() / "sources.yaml")["documents"].items()
        for owner in entry["owners"]
        if "/properties/" in owner.get("field", "")
        if (source := Source.parse(f"{document}:{owner['lines']}"))
        if not set(range(source.first, source.last + 1)) & _known_lines(document)
    ]
    assert missing == []


@cache
def _known_lines(document: str) -> frozenset[int]:
    rows_there = {row.line for part, row in CASES if part.document == document}
    conditions = {one["line"] for part, one in CONDITIONS if part.document == document}
    return frozenset(rows_there | conditions | {line for d, _, line, _, _ in FACTS if d == document})
