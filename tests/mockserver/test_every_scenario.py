"""Every scenario of every operation is asked for over real HTTP, and what comes is judged by the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from mock_calls import build_content

from flowcontract.scenarios import load_scenarios
from flowcontract.specs.examples import ExampleRequest, list_example_requests
from flowcontract.specs.model import load_apis
from flowcontract.streams.judge import StreamJudge
from flowcontract.validation.response import find_response_violations

if TYPE_CHECKING:
    from mockserver.server.mock_server import MockServer

APIS = load_apis()
SCENARIOS = load_scenarios(tuple(APIS))
CASES = [
    (api.name, operation.id, key)
    for api in APIS.values()
    for operation in api.operations.values()
    for key in SCENARIOS.list_keys(operation)
]
CLIENT = httpx.Client(trust_env=False, timeout=20)  # one for all: making one costs more than a request
EXAMPLES = [(api.name, example) for api in APIS.values() for example in list_example_requests(api)]


def send(server: MockServer, api: str, example: ExampleRequest, suffix: str = "", **headers: str) -> httpx.Response:
    """Send a documented request with its placeholders filled."""
    content = build_content(example)
    sent = {**server.headers(api, suffix), **example.headers, **headers}
    return CLIENT.request(example.operation.method, server.url(api) + example.path, headers=sent, **content)


def judge(server: MockServer, api: str, operation_id: str, response: httpx.Response, body: bytes) -> list[str]:
    """Return everything that is wrong with an answer."""
    contract = server.mock.apis[api]
    operation = contract.operations[operation_id]
    found = find_response_violations(contract.validators, operation, response.status_code, dict(response.headers), body)
    if (
        operation.stream
        and response.status_code == operation.success.status
        and "event-stream" in response.headers["content-type"]
    ):
        judge = StreamJudge(operation.stream)
        found = [*found, *judge.feed(body), *judge.close()]
    return [str(one) for one in found]


@pytest.mark.parametrize(("api", "operation_id", "key"), CASES, ids=["/".join(case) for case in CASES])
def test_scenario_that_is_asked_for_comes_as_the_contract_has_it(
    server: MockServer, api: str, operation_id: str, key: str
) -> None:
    """`Prefer` brings each scenario, with its status, valid against the contract, the stream by its stream contract."""
    example = next(one for name, one in EXAMPLES if name == api and one.operation.id == operation_id)
    status, _, name = key.partition("-")
    response = send(server, api, example, "-every-scenario", Prefer=f"code={status}, example={name}")
    assert response.status_code == int(status), response.text
    assert response.headers["preference-applied"] == f"code={status}, example={name}"
    assert judge(server, api, operation_id, response, response.content) == []


@pytest.mark.parametrize(
    ("api", "example"), EXAMPLES, ids=[f"{api}/{one.operation.id}/{one.name}" for api, one in EXAMPLES]
)
def test_documented_request_succeeds_as_it_stands(server: MockServer, api: str, example: ExampleRequest) -> None:
    """What a document prints as an example works on a fresh key, and the answer follows the contract."""
    response = send(server, api, example, f"-documented-{example.operation.id}-{example.name}")
    assert response.status_code == example.operation.success.status, response.text
    assert judge(server, api, example.operation.id, response, response.content) == []
