"""Cybertron: both work modes, and the conditions that stand between form and headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contract_tests.cases import sample_files as samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from contract_tests.journeys.journey import Journey

    Begin = Callable[[str], Journey]

API = "cybertron"
NAME = "offlineUploadFile"


def build_form(robot: Journey, **fields: Any) -> dict[str, Any]:
    """Return a form for this server's flow and tenant."""
    values = robot.suite.values.build_example(robot.api.operations[NAME], "no-file").body
    return {"flow_uuid": values["flow_uuid"], "tenant_name": values["tenant_name"], **fields}


def test_both_modes_are_accepted(begin: Begin) -> None:
    """Mode 1 takes a file, mode 2 runs without; each gets a number and a status."""
    robot = begin(API)
    file = samples.upload("a wav", robot.run)
    with_file = {"file": file, "file_name": file.filename, "extra_params": "variable"}
    numbers = []
    for fields in ({**with_file}, {"mode": "1", **with_file}, {"mode": "2", "inputs": '{"aaa": 111}'}):
        number = robot.call(NAME, body=build_form(robot, username=robot.create_user("robot"), **fields))["data"][
            "id"
        ].value
        robot.expect(NAME, "the number of a file", number, "000:173-177", condition=type(number) is int)
        numbers.append(str(number))
    robot.expect(
        NAME, "a number of its own for each", numbers, "000:173-177", condition=len(set(numbers)) == len(numbers)
    )


def test_user_is_named_in_the_form_or_in_a_header(begin: Begin) -> None:
    """Either place is as good; neither is refused."""
    robot = begin(API)
    user = robot.create_user("robot")
    robot.call(NAME, body=build_form(robot, mode="2", username=user))
    robot.call(NAME, headers={"username": user}, body=build_form(robot, mode="2"))
    robot.call(NAME, body=build_form(robot, mode="2"), refused="missing-username", why="no user is named")


def test_mode_one_needs_what_mode_two_does_not(begin: Begin) -> None:
    """A file, its name and the variable are needed with a file only."""
    robot = begin(API)
    user = robot.create_user("robot")
    file = samples.upload("a note", robot.run)
    whole = {"file": file, "file_name": file.filename, "extra_params": "variable"}
    for missing, word in (
        ("file", "missing-file"),
        ("file_name", "missing-parameter"),
        ("extra_params", "missing-parameter"),
    ):
        fields = {name: value for name, value in whole.items() if name != missing}
        robot.call(
            NAME, body=build_form(robot, mode="1", username=user, **fields), refused=word, why=f"mode 1 needs {missing}"
        )


def test_inputs_are_json_as_text(begin: Begin) -> None:
    """Text that is no JSON object is refused."""
    robot = begin(API)
    for inputs in ("{not json", "[1]"):
        body = build_form(robot, mode="2", username=robot.create_user("robot"), inputs=inputs)
        robot.call(NAME, body=body, refused="invalid-inputs", why="`inputs` is a JSON object as text")
