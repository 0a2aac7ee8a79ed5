"""What an app is can be said in a file: it is served, requests are judged by it, and mistakes in it are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from mock_users import User

from flowcontract.errors import AppError, UnknownNameError
from flowcontract.specs.model import list_apis
from mockserver.cli import main as cli
from mockserver.config.apps import read_defaults

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mock_calls import Caller

TOML = """
[dify-chat.parameters]
opening_statement = "Moin!"

[[dify-chat.parameters.user_input_form]]
[dify-chat.parameters.user_input_form.select]
label = "Size"
variable = "size"
required = true
options = ["S", "M"]

[dify-chat.info]
name = "Shoes"

[dify-chat.meta.tool_icons]
feet = "https://shoes.example/feet.png"

[dify-workflow.site]
title = "Shoe works"
show_workflow_steps = true

[agentbuilder]
flows = ["11111111-1111-4111-8111-111111111111"]
"""
YAML = """
dify-chat:
  parameters:
    opening_statement: Moin!
    user_input_form:
      - select: {label: Size, variable: size, required: true, options: [S, M]}
  info: {name: Shoes}
  meta: {tool_icons: {feet: 'https://shoes.example/feet.png'}}
dify-workflow:
  site: {title: Shoe works, show_workflow_steps: true}
agentbuilder:
  flows: [11111111-1111-4111-8111-111111111111]
"""

LAUGHS = "dify-chat:\n  a0: &a0 [ha, ha]\n" + "".join(
    f"  a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)


@pytest.fixture
def configured(make_app: Callable[..., Caller], tmp_path: Path) -> Callable[..., Caller]:
    """Return what makes an application whose apps are said in a file."""

    def make(text: str, ending: str = "yaml", **settings: Any) -> Caller:
        path = tmp_path / f"app.{ending}"
        path.write_text(text, encoding="utf-8")
        return make_app(app=path, **settings)

    return make


@pytest.mark.parametrize(("text", "ending"), [(TOML, "toml"), (YAML, "yaml")], ids=["toml", "yaml"])
def test_what_the_file_says_is_served_and_the_rest_is_ours(
    configured: Callable[..., Caller], text: str, ending: str
) -> None:
    """One table per API; what a table leaves out stays as it was, and a list replaces ours."""
    mock = configured(text, ending)
    chat, workflow = User(mock, "dify-chat"), User(mock, "dify-workflow")
    parameters = chat.call("getParameters").json
    assert parameters["opening_statement"] == "Moin!"
    assert [list(control) for control in parameters["user_input_form"]] == [["select"]]
    assert parameters["system_parameters"]["file_size_limit"] == 15
    info = chat.call("getInfo").json
    assert (info["name"], info["tags"]) == ("Shoes", ["tag1", "tag2"])
    assert chat.call("getMeta").json["tool_icons"]["feet"] == "https://shoes.example/feet.png"
    site = workflow.call("getSite").json
    assert (site["title"], site["show_workflow_steps"], site["icon"]) == ("Shoe works", True, "😄")
    flow = "11111111-1111-4111-8111-111111111111"
    assert User(mock, "agentbuilder", name="").call("listFlowFiles", flow_id=flow).json == {"files": []}


def test_questions_are_judged_by_the_form_of_the_file(configured: Callable[..., Caller]) -> None:
    """The app's own control is required, and its options are the only ones; a conversation that goes on has it."""
    chat = User(configured(TOML, "toml"), "dify-chat")
    question = {"query": "Which?", "response_mode": "blocking"}
    for inputs, told in (({}, "size is required"), ({"size": "XL"}, "one of the following: S, M")):
        refused = chat.call("sendChatMessage", {**question, "inputs": inputs})
        assert (refused.status, refused.json["code"]) == (400, "invalid_param")
        assert told in refused.json["message"]
    said = chat.call("sendChatMessage", {**question, "inputs": {"size": "S"}}).json
    assert chat.call("sendChatMessage", {**question, "conversation_id": said["conversation_id"]}).status == 200
    listed = chat.call("listConversations", query={"user": "abc-123"}).json["data"]
    assert [one["introduction"] for one in listed if one["id"] == said["conversation_id"]] == ["Moin!"]


@pytest.mark.parametrize(
    ("feature", "operation", "request_", "code"),
    [
        ("speech_to_text", "convertAudioToText", {"form": {"file": ("a.wav", b"RIFF")}}, "invalid_param"),
        ("text_to_speech", "convertTextToAudio", {"body": {"text": "hello"}}, "invalid_param"),
        (
            "suggested_questions_after_answer",
            "listSuggestedQuestions",
            {"query": {"user": "abc-123"}, "message_id": "5ad4cb98-f0c7-4085-b384-88c403be6290"},
            "bad_request",
        ),
    ],
)
def test_feature_that_is_off_is_refused_as_real_servers_refuse_it(
    configured: Callable[..., Caller], feature: str, operation: str, request_: dict[str, Any], code: str
) -> None:
    """Switched off it is the observed 400; switched on the same request succeeds."""
    for enabled, status in ((True, 200), (False, 400)):
        mock = configured(yaml.safe_dump({"dify-chat": {"parameters": {feature: {"enabled": enabled}}}}))
        answer = User(mock, "dify-chat").call(operation, **request_)
        assert answer.status == status
        assert enabled or answer.json["code"] == code


def test_an_app_without_retriever_quotes_nothing(configured: Callable[..., Caller]) -> None:
    """`retriever_resource` off: no answer quotes the knowledge base, nor does the history."""
    for enabled in (True, False):
        said = {"dify-chat": {"parameters": {"retriever_resource": {"enabled": enabled}}}}
        chat = User(configured(yaml.safe_dump(said)), "dify-chat")
        whole = chat.call("sendChatMessage", QUESTION).json
        events = chat.call("sendChatMessage", {**QUESTION, "response_mode": "streaming"}).events
        end = next(event for event in events if event["event"] == "message_end")
        asked = {"conversation_id": whole["conversation_id"], "user": "abc-123"}
        shown = chat.call("listMessages", query=asked).json["data"][0]
        quoted = [whole["metadata"]["retriever_resources"], end["metadata"]["retriever_resources"]]
        assert [bool(one) for one in [*quoted, shown["retriever_resources"]]] == [enabled] * 3


def test_app_that_speaks_by_default_is_a_scenario_of_the_file(configured: Callable[..., Caller]) -> None:
    """`scenarios` says what answers an operation, for every key, or for those that end in a certain way."""
    mock = configured(
        "dify-chat: {info: {name: Dog}, keys: {-cat: {scenarios: {getInfo: 200-documented}, info: {name: Cat}}}}"
    )
    assert User(mock, "dify-chat", "-cat-7").call("getInfo").json["name"] == "My App"
    assert User(mock, "dify-chat", "-catalogue").call("getInfo").json["name"] == "Dog"


def test_printed_default_is_a_file_that_changes_nothing(
    make_app: Callable[..., Caller], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`mockserver init` prints every API's table; given back it is accepted, and the apps are as they were."""
    assert cli.main(["init"]) == 0
    printed = capsys.readouterr().out
    assert printed == read_defaults(list_apis())
    path = tmp_path / "app.yaml"
    path.write_text(printed, encoding="utf-8")
    mine, ours = make_app(app=path), make_app()
    for api, operation in (("dify-chat", "getParameters"), ("dify-workflow", "getSite"), ("dify-workflow", "getInfo")):
        assert User(mine, api).call(operation).json == User(ours, api).call(operation).json


def test_unknown_api_is_told_by_init(capsys: pytest.CaptureFixture[str]) -> None:
    """A slip in the name is a misuse that says what there is."""
    assert cli.main(["init", "--api", "dify-chatt"]) == 2
    assert 'Did you mean "dify-chat"?' in capsys.readouterr().err


MISTAKES = {
    "unknown API": ("chat: {}", "line 1: chat is unknown", "dify-chat"),
    "no table": ("- dify-chat", "app.yaml", "one table per API"),
    "no mapping": ("dify-chat: 5", "line 1: dify-chat must be an object", "is 5"),
    "unknown table": ("dify-chat:\n  infos: {}", "line 2: dify-chat.infos is unknown", 'Did you mean "info"?'),
    "unknown field": (
        "dify-chat:\n  parameters:\n    opening: hi",
        "line 3: dify-chat.parameters.opening is unknown",
        "opening_statement",
    ),
    "wrong type": (
        "dify-chat:\n  parameters:\n    speech_to_text:\n      enabled: 'yes'",
        "line 4: dify-chat.parameters.speech_to_text.enabled must be true or false",
        'is the text "yes"',
    ),
    "unknown control": (
        "dify-workflow:\n  parameters:\n    user_input_form:\n      - textarea: {}",
        "line 4: dify-workflow.parameters.user_input_form.0.textarea is unknown",
        "paragraph",
    ),
    "incomplete control": (
        "dify-workflow:\n  parameters:\n    user_input_form:\n      - select: {label: a, required: true, options: []}",
        "line 4: dify-workflow.parameters.user_input_form.0.select",
        "variable",
    ),
    "unknown scenario": (
        "dify-chat:\n  scenarios:\n    getInfo: 200-documentd",
        "line 3: dify-chat.scenarios.getInfo is wrong",
        'Did you mean "200-documented"?',
    ),
    "unknown operation": ("dify-chat:\n  scenarios:\n    gotInfo: 200-default", "line 3", 'Did you mean "getInfo"?'),
    "unknown texts": ("dify-chat:\n  answers: ecko", "line 2: dify-chat.answers is wrong", 'Did you mean "echo"?'),
    "wrong expression": (
        "dify-chat:\n  texts:\n    mine: ['{$faker.nothing_at_all}']",
        "line 3: dify-chat.texts.mine.0 is wrong",
        "$faker.",
    ),
    "other app": (
        "dify-chat:\n  keys:\n    -quiet:\n      info: {name: 5}",
        "line 4: dify-chat.keys.-quiet.info.name must be text",
        "is 5",
    ),
    "no suffix": ("dify-chat:\n  keys:\n    quiet: {}", "dify-chat.keys", "quiet"),
    "broken": ("dify-chat: [", "app.yaml", "line"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_told_with_file_line_and_field(configured: Callable[..., Caller], name: str) -> None:
    """A wrong file is refused before the mock starts, and says what there is instead."""
    text, place, hint = MISTAKES[name]
    with pytest.raises(AppError) as caught:
        configured(text)
    assert "app.yaml" in str(caught.value)
    assert place in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[dify-chat]\n\n[dify-chat.info]\ntags = [\n  5,\n]", "line 4: dify-chat.info.tags.0"),
        ("dify-chat.info.name = 5", "line 1: dify-chat.info.name"),
        (
            TOML + '[[dify-chat.parameters.user_input_form]]\n[dify-chat.parameters.user_input_form.selekt]\nlabel="a"',
            "line 25: dify-chat.parameters.user_input_form.1.selekt",
        ),
        ("[dify-chat\n", "line 1"),
    ],
)
def test_mistake_in_toml_is_told_with_its_line_too(configured: Callable[..., Caller], text: str, place: str) -> None:
    """Tables, arrays of tables and dotted keys are found where they stand."""
    with pytest.raises(AppError) as caught:
        configured(text, "toml")
    assert place in str(caught.value)


def test_file_that_is_not_there_is_told(make_app: Callable[..., Caller], tmp_path: Path) -> None:
    """The path is named, and how to get a file that can be read."""
    with pytest.raises(AppError, match=r"nowhere\.toml: cannot be read: .*mockserver init"):
        make_app(app=tmp_path / "nowhere.toml")


QUESTION = {"query": "Wie hoch ist der Kilimandscharo?", "inputs": {}, "response_mode": "blocking"}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("laughs.yaml", LAUGHS, r"laughs\.yaml, line [67]: aliases repeat more than"),
        ("itself.yaml", "dify-chat: &a {form: [*a]}", r"itself\.yaml, line 1: an alias contains itself"),
        ("deep.toml", "a = " + "[" * 5000 + "]" * 5000, r"deep\.toml: cannot be read"),
        ("keys.toml", ".".join(["a"] * 5000) + " = 1", r"keys\.toml: cannot be read"),
        ("less.toml", ".".join(["a"] * 300) + " = 1", r"less\.toml: cannot be read: nested more than 200 deep"),
    ],
)
def test_file_of_apps_that_explodes_is_refused(
    make_app: Callable[..., Caller], tmp_path: Path, name: str, text: str, told: str
) -> None:
    """Few lines that stand for billions of values, or nest without end, are an error like any other."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(AppError, match=told):
        make_app("dify-chat", app=tmp_path / name)


def test_answer_depends_on_question_and_seed_alone(make_app: Callable[..., Caller]) -> None:
    """Whoever asks, whenever: one question has one answer that is about it; another question, or seed, has another."""
    mock = make_app("dify-chat")
    answer = User(mock, "dify-chat", "-one").call("sendChatMessage", QUESTION).json["answer"]
    assert QUESTION["query"] in answer
    assert len(answer) > 2 * len(str(QUESTION["query"]))
    others = User(mock, "dify-chat", "-two", name="eve")
    assert others.call("sendChatMessage", {**QUESTION, "query": "Something else?"}).json["answer"] != answer
    assert others.call("sendChatMessage", QUESTION).json["answer"] == answer
    assert User(make_app("dify-chat", seed=1), "dify-chat").call("sendChatMessage", QUESTION).json["answer"] != answer


@pytest.mark.parametrize("query", ["手机多大", "How large is it?"])
def test_question_is_answered_in_its_own_script(make_app: Callable[..., Caller], query: str) -> None:
    """Chinese is answered in Chinese, other languages are not."""
    mock = make_app("dify-chat")
    answers = [
        User(mock, "dify-chat").call("sendChatMessage", {**QUESTION, "query": f"{query} {number}"}).json["answer"]
        for number in range(10)
    ]
    chinese = [any("\u4e00" <= character <= "\u9fff" for character in one.replace(query, "")) for one in answers]
    assert chinese == [query == "手机多大"] * 10
    assert len({answer.replace(query, "")[:9] for answer in answers}) > 1, "there are several texts"


@pytest.mark.parametrize(
    "query", ["hello", "  two\n\nlines ", "你好世界", "x" * 5000, "a b " * 500, "{$faker.name} 😀"]
)
def test_echo_says_what_was_asked_in_both_modes(make_app: Callable[..., Caller], query: str) -> None:
    """`--answers echo` gives the question back to the letter; an expression in it stays text."""
    chat = User(make_app("dify-chat", answers="echo"), "dify-chat")
    assert chat.call("sendChatMessage", {**QUESTION, "query": query}).json["answer"] == query
    events = chat.call("sendChatMessage", {**QUESTION, "query": query, "response_mode": "streaming"}).events
    pieces = [event["answer"] for event in events if event["event"] == "message"]
    assert "".join(pieces) == query
    assert len(pieces) <= 64


def test_texts_of_the_file_answer(configured: Callable[..., Caller]) -> None:
    """A list of one's own, chosen by name, may say anything that scenarios may say."""
    text = "Dear {$request.body#/user}, about {$request.body#/query}: no."
    mine = yaml.safe_dump({"dify-chat": {"answers": "polite", "texts": {"polite": [text]}}})
    chat = User(configured(mine), "dify-chat")
    assert chat.call("sendChatMessage", {**QUESTION, "query": "it"}).json["answer"] == "Dear abc-123, about it: no."
    echo = User(configured(mine, answers="echo"), "dify-chat")
    assert echo.call("sendChatMessage", {**QUESTION, "query": "it"}).json["answer"] == "it", "--answers comes first"


def test_unknown_answers_are_told(make_app: Callable[..., Caller]) -> None:
    """A slip says what there is."""
    with pytest.raises(UnknownNameError, match=r'No answers "ecko"\. There is: echo, faker'):
        make_app("dify-chat", answers="ecko")
