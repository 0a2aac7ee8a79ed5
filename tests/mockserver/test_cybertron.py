"""Cybertron: two modes, a user's name in two places, eight statuses, and refusals that are all HTTP 200."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from mock_users import User

from flowcontract.scenarios import load_scenarios

if TYPE_CHECKING:
    from mock_calls import Answer, Caller

FLOW = "7c9f3f0e-6d3b-4a57-9d0b-1f1c6f9e2a41"
WITH_FILE = {
    "username": "me@host.com",
    "flow_uuid": FLOW,
    "tenant_name": "AiopsTest",
    "file": ("rack-42.png", b"\x89PNG"),
    "file_name": "rack-42.png",
    "extra_params": "rack_description",
}
WITHOUT_FILE = {"mode": "2", "username": "me@host.com", "flow_uuid": FLOW, "tenant_name": "AiopsTest"}
STATUSES = {
    1: "uploading",
    2: "upload-finished",
    3: "upload-failed",
    4: "parsing",
    5: "parse-finished",
    6: "parse-failed",
    7: "flow-succeeded",
    8: "flow-failed",
}
CODES = {key for key in load_scenarios(["cybertron"]).files if key.parent.name == "offlineUploadFile"}


@pytest.fixture
def robot(mock: Caller, request: pytest.FixtureRequest) -> User:
    """Return a robot in a world that no other test sees."""
    return User(mock, "cybertron", f"-{abs(hash(request.node.nodeid))}", name="")


def send(robot: User, form: dict[str, Any], **headers: str) -> Answer:
    """Send a form."""
    return robot.call("offlineUploadFile", form=form, headers=headers)


def refused(answer: Answer, code: str) -> bool:
    """Tell whether an answer is a refusal as the document has them: 200, another code, no data."""
    return (answer.status, answer.json["code"], answer.json["data"]) == (200, code, None)


@pytest.mark.parametrize(
    "form",
    [
        WITH_FILE,
        {**WITH_FILE, "mode": "1"},
        {**WITH_FILE, "file_format": "Image", "parse_model": "ocr"},
        {**WITH_FILE, "file_format": "", "parse_model": "gpt-4o", "parse_prompt": "What is this?"},
        {**WITH_FILE, "file": ("empty.wav", b""), "file_name": "名前.wav"},
        WITHOUT_FILE,
        {**WITHOUT_FILE, "inputs": '{"aaa": 111, "bbb": {"c": [1, null]}}'},
        {**WITHOUT_FILE, "tenant_name": "1111111", "flow_uuid": "xxxxxxx", "unknown": "field"},
    ],
)
def test_both_modes_answer_with_a_file_id_and_a_status(robot: User, form: dict[str, Any]) -> None:
    """Each upload gets the next number; the mode without a file has one, too."""
    numbers = []
    for _ in range(3):
        answer = send(robot, form).json
        assert (answer["code"], answer["message"], answer["data"]["status"]) == ("000000", "ok", 4)
        numbers.append(answer["data"]["id"])
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]


@pytest.mark.parametrize("field", ["file", "file_name", "extra_params"])
@pytest.mark.parametrize("mode", [{}, {"mode": "1"}], ids=["default", "1"])
def test_first_mode_needs_a_file_its_name_and_extra_params(robot: User, field: str, mode: dict[str, str]) -> None:
    """What is missing is named; the second mode needs none of them."""
    form = {name: value for name, value in {**WITH_FILE, **mode}.items() if name != field}
    answer = send(robot, form)
    assert answer.status == 200
    assert answer.json["code"] != "000000"
    assert answer.json["data"] is None
    assert field in answer.json["message"]
    assert send(robot, {**form, "mode": "2"}).json["code"] == "000000"


@pytest.mark.parametrize("field", ["flow_uuid", "tenant_name"])
@pytest.mark.parametrize("form", [WITH_FILE, WITHOUT_FILE], ids=["mode 1", "mode 2"])
def test_flow_and_tenant_are_needed_in_both_modes(robot: User, form: dict[str, Any], field: str) -> None:
    """The field is named."""
    answer = send(robot, {name: value for name, value in form.items() if name != field})
    assert answer.json["code"] != "000000"
    assert field in answer.json["message"]


@pytest.mark.parametrize("form", [WITH_FILE, WITHOUT_FILE], ids=["mode 1", "mode 2"])
def test_username_is_in_the_form_or_in_a_header(robot: User, form: dict[str, Any]) -> None:
    """Either will do, both will do, neither is a refusal of its own."""
    without = {name: value for name, value in form.items() if name != "username"}
    assert send(robot, form).json["code"] == "000000"
    assert send(robot, without, username="me@host.com").json["code"] == "000000"
    assert send(robot, form, username="me@host.com").json["code"] == "000000"
    assert "username" in send(robot, without).json["message"]
    assert send(robot, without).json["code"] != "000000"


@pytest.mark.parametrize("status", STATUSES)
def test_each_status_is_a_scenario(robot: User, status: int) -> None:
    """1 to 8, as the document numbers them; the file's id counts on."""
    answers = [
        robot.call("offlineUploadFile", form=WITH_FILE, headers={"Prefer": f"example={STATUSES[status]}"}).json
        for _ in range(2)
    ]
    assert [answer["code"] for answer in answers] == ["000000", "000000"]
    assert [answer["data"]["status"] for answer in answers] == [status, status]
    assert answers[1]["data"]["id"] == answers[0]["data"]["id"] + 1


@pytest.mark.parametrize("inputs", ["", "{}", '{"aaa":111,"bbb":222}', '{"名前": "値"}', ' {"a": {"b": []}} '])
def test_inputs_may_be_any_json_object(robot: User, inputs: str) -> None:
    """A text that is a JSON object; no text at all is no inputs."""
    form = {**WITHOUT_FILE, "inputs": inputs} if inputs else WITHOUT_FILE
    assert send(robot, form).json["code"] == "000000"


@pytest.mark.parametrize(
    "inputs", ["{", "aaa", "[1, 2]", '"text"', "5", "null", '{"a": NaN}', "{'a': 1}", '{"a": 1} x']
)
@pytest.mark.parametrize("form", [WITH_FILE, WITHOUT_FILE], ids=["mode 1", "mode 2"])
def test_inputs_that_are_no_json_object_are_refused(robot: User, form: dict[str, Any], inputs: str) -> None:
    """Broken JSON, and JSON that is no object, have a code of their own, in both modes."""
    assert refused(send(robot, {**form, "inputs": inputs}), "400005")


@pytest.mark.parametrize("mode", ["0", "3", "one", "1.5", ""])
def test_mode_is_one_or_two(robot: User, mode: str) -> None:
    """Anything else is a refusal that names the field; an empty field is none of both."""
    answer = send(robot, {**WITH_FILE, "mode": mode})
    assert answer.json["code"] != "000000"
    assert "mode" in answer.json["message"]


def test_unknown_flow_is_refused(robot: User) -> None:
    """As a code, since the document knows one status."""
    answer = send(robot, {**WITH_FILE, "flow_uuid": "no-such-flow"})
    assert answer.status == 200
    assert answer.json["code"] != "000000"
    assert "no-such-flow" in answer.json["message"] or "flow" in answer.json["message"]


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"cybertron-robot-key": "robot-key"},
        {"cybertron-robot-token": "robot-token"},
        {"cybertron-robot-key": "wrong", "cybertron-robot-token": "robot-token"},
        {"cybertron-robot-key": "robot-key", "cybertron-robot-token": "wrong"},
        {"cybertron-robot-key": "robot-key-a", "cybertron-robot-token": "robot-token-b"},
    ],
)
def test_wrong_credentials_are_refused_with_a_code(mock: Caller, credentials: dict[str, str]) -> None:
    """Key and token are both needed, right, and each other's."""
    answer = _Keyless(mock, "cybertron", name="", headers=credentials).call("offlineUploadFile", form=WITH_FILE)
    assert (answer.status, answer.json["data"]) == (200, None)
    assert answer.json["code"].startswith("401")


class _Keyless(User):
    """A robot whose credentials are in `headers` alone."""

    def _credentials(self, operation: Any) -> dict[str, str]:
        return {}


def test_token_may_go_without_the_keys_suffix(mock: Caller) -> None:
    """A key with a suffix opens a world of its own, with the token as it is or with the same suffix."""
    for token in ("robot-token", "robot-token-mine"):
        credentials = {"cybertron-robot-key": "robot-key-mine", "cybertron-robot-token": token}
        answer = _Keyless(mock, "cybertron", name="", headers=credentials).call("offlineUploadFile", form=WITH_FILE)
        assert answer.json["code"] == "000000", token


def test_each_scenario_of_a_code_can_be_had(robot: User) -> None:
    """Six digits; `000000` comes with a file, every other with no data."""
    for path in sorted(CODES):
        prefer = {"Prefer": f"example={path.stem.partition('-')[2]}"}
        answer = robot.call("offlineUploadFile", form=WITH_FILE, headers=prefer).json
        assert len(answer["code"]) == 6
        assert (answer["code"] == "000000") == (answer["data"] is not None), path.stem
