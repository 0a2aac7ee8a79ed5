"""Each document, run from top to bottom in a fresh world: every example succeeds and is answered as it is printed."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mock_users import events_of, multipart

from flowcontract import yamlio
from flowcontract.scenarios import load_scenarios
from flowcontract.specs.examples import list_example_requests
from flowcontract.specs.model import load_apis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mock_calls import Answer, Caller

    from flowcontract.specs.examples import ExampleRequest

DATA = yamlio.load(Path(__file__).parent.parent / "data" / "printed.yaml")
APIS = load_apis()
EXAMPLES = {
    f"{api.name}/{each.operation.id} {each.name}": each for api in APIS.values() for each in list_example_requests(api)
}
REASONS = {"id", "time", "token"}  # what no server can answer as printed; the other reasons are rulings


@cache
def rulings() -> frozenset[str]:
    """Return the names of all rulings, qualified."""
    return frozenset(f"{api.name}/{name}" for api in APIS.values() for name in api.rulings)


def ask(mock: Caller, step: Mapping[str, Any]) -> Answer:
    """Send an example as the document does it, with the files that its command names."""
    example = EXAMPLES[step["send"]]
    api = APIS[step["send"].partition("/")[0]]
    path, body = example.path, example.body
    for printed, meant in step.get("instead", {}).items():
        path = path.replace(printed, meant)
    headers = {
        f"{name}".replace("-", "_"): value for name, value in {**_keys(api, example, step), **example.headers}.items()
    }
    if example.media_type == "application/json":
        return mock.ask(example.operation.method, api.base_path + path, json_body=body, **headers)
    if not example.media_type:
        return mock.ask(example.operation.method, api.base_path + path, **headers)
    file = (step["file"]["name"], bytes(step["file"]["size"]))
    form = multipart({**body, **dict.fromkeys(example.files, file)})
    headers["Content_Type"] = "multipart/form-data; boundary=b"
    return mock.ask(example.operation.method, api.base_path + path, body=form, **headers)


def _keys(api: Any, example: ExampleRequest, step: Mapping[str, Any]) -> dict[str, str]:
    schemes = [api.schemes[name] for name in example.operation.security[0]]
    return {each.parameter: f"{each.prefix}{each.mock_key}{step.get('key', '')}" for each in schemes}


def printed(step: Mapping[str, Any]) -> Any:
    """Return what the document prints as the answer: a body, or for a stream the first event of each kind."""
    example = EXAMPLES[step["send"]]
    status, name = step["prints"].split(" ")
    if name in _scenarios(step):
        return _by_kind([event.data for event in _scenarios(step)[name].reply.events])
    found = [
        media.examples[name]
        for media in example.operation.responses[int(status)].media.values()
        if name in media.examples
    ]
    return found[0].value


@cache
def _all_scenarios() -> Any:
    return load_scenarios(tuple(APIS))


def _scenarios(step: Mapping[str, Any]) -> Mapping[str, Any]:
    known = _all_scenarios().read_scenarios(EXAMPLES[step["send"]].operation)
    return {key.partition("-")[2]: known[key] for key in known if key.endswith("-documented-streaming")}


def _by_kind(events: list[Any]) -> dict[str, Any]:
    first: dict[str, Any] = {}
    for event in events:
        if isinstance(event, dict):
            first.setdefault(event["event"], event)
    return first


def differences(shown: Any, said: Any, where: str = "") -> Iterator[str]:
    """Yield the places of printed values that an answer lacks; of a list each printed item is among the others."""
    if isinstance(shown, dict) and isinstance(said, dict):
        for name, value in shown.items():
            if name in said:
                yield from differences(value, said[name], f"{where}/{name}")
            else:
                yield f"{where}/{name}"
    elif isinstance(shown, list) and isinstance(said, list):
        for index, value in enumerate(shown):
            found = [list(differences(value, item, f"{where}/{index}")) for item in said]
            yield from min(found, key=len, default=[f"{where}/{index}"])
    elif shown != said or isinstance(shown, bool) != isinstance(said, bool):
        yield where


@pytest.mark.parametrize("document", sorted(DATA))
def test_examples_of_a_document_are_answered_as_printed(make_app: Callable[..., Caller], document: str) -> None:
    """Except for ids, times, tokens, and what a ruling names; an exception that is none any more is to be deleted."""
    mock = make_app()
    for step in DATA[document]:
        answer = ask(mock, step)
        name = f"{document}:{step['at']} {step['send']}"
        assert answer.status == EXAMPLES[step["send"]].operation.success.status, f"{name}: {answer.body[:300]!r}"
        if "prints" not in step:
            assert answer.body, name
            continue
        streamed = answer.headers["Content-Type"].startswith("text/event-stream")
        said = _by_kind(events_of(answer.body)) if streamed else answer.json
        told = step.get("differs", {})
        found = set(differences(printed(step), said))
        excepted = {
            where: [place for place in told if re.fullmatch(place.replace("*", "[^/]+"), where)] for where in found
        }
        assert [where for where, places in excepted.items() if not places] == [], f"{name}: {said}"
        stale = set(told) - {place for places in excepted.values() for place in places}
        assert stale == set(), f"{name}: as printed, and still listed as different"


def test_every_example_is_run() -> None:
    """In the order in which the documents print them, and each exception has a reason that there is."""
    sent = {step["send"] for steps in DATA.values() for step in steps}
    assert set(EXAMPLES) - sent == set()
    for steps in DATA.values():
        lines = [int(str(step["at"]).partition("-")[0]) for step in steps]
        assert lines == sorted(lines)
    reasons = {reason for steps in DATA.values() for step in steps for reason in step.get("differs", {}).values()}
    assert reasons - REASONS - rulings() == set()
