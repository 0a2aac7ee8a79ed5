"""Targets: defaults from the contracts, options, target files, and what is said when they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract_tests.config import target
from contract_tests.config.target import load_target
from contract_tests.http.exchange import Request
from contract_tests.http.target import Provocation, TargetError
from contract_tests.suite.session import Suite
from flowcontract.errors import FlowContractError, UnknownNameError
from flowcontract.specs.model import load_apis

URL = "http://127.0.0.1:8080"


@pytest.fixture(scope="module")
def apis():
    """Return all contracts."""
    return load_apis()


def write(folder: Path, text: str) -> Path:
    """Write a target file."""
    path = folder / "target.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_base_url_gets_the_base_path_of_each_api_once(apis):
    """A base URL may end with the base path or not."""
    plain = load_target(apis, base_url=URL)
    assert plain.apis["dify-chat"].base_url == f"{URL}/v1"
    assert plain.apis["agentbuilder"].base_url == f"{URL}/api"
    assert (
        load_target({"dify-chat": apis["dify-chat"]}, base_url=f"{URL}/v1/").apis["dify-chat"].base_url == f"{URL}/v1"
    )


def test_default_keys_are_the_mocks_in_a_world_of_the_runs_own(apis):
    """Without any option about keys the target is the mock, and two runs do not share a world."""
    one, two = load_target(apis, base_url=URL), load_target(apis, base_url=URL)
    key = one.apis["dify-chat"].keys["apiKey"]
    assert key.startswith("app-chat-")
    assert key != two.apis["dify-chat"].keys["apiKey"]
    assert not one.apis["dify-chat"].secret
    robot = one.apis["cybertron"].keys
    assert robot["robotKey"].removeprefix("robot-key") == robot["robotToken"].removeprefix("robot-token")


def test_mock_says_how_every_error_is_provoked(apis):
    """The shipped target file of the mock fills code and status into the Prefer header."""
    operation = apis["dify-chat"].operations["sendChatMessage"]
    way = load_target(apis, base_url=URL).find_provocation(operation, "app_unavailable", 400)
    assert way is not None
    assert way.headers == {"Prefer": "code=400, example=app_unavailable"}


def test_what_provokes_an_error_is_sent_as_the_target_file_says_it(apis):
    """Neither an id nor a path in it is replaced by one that the server has, for it may be meant to be unknown."""
    way = Provocation(body={"tweaks": {"ChatInput-b67sL": {"files": "nobody/nothing.png"}}}, query={"name": "a/b"})
    assert way.places == {"/tweaks", "query/name"}
    suite = Suite(load_target(apis, base_url=URL))
    request = Request("POST", "/v1/run/{flow_id}", query=way.query, body=way.body)
    filled = suite.values.fill(apis["agentbuilder"].operations["runFlow"], request, way.places)
    assert (filled.query, filled.body) == (way.query, way.body)


def test_another_key_is_another_server(apis):
    """A key that is not the mock's is secret, kept as it is, and nothing can be provoked."""
    found = load_target(apis, base_url=URL, keys=["dify-chat=app-xyz"])
    assert found.apis["dify-chat"].keys == {"apiKey": "app-xyz"}
    assert found.apis["dify-chat"].secret
    assert found.find_provocation(apis["dify-chat"].operations["sendChatMessage"], "app_unavailable", 400) is None
    assert found.no_delete_all


def test_one_key_serves_the_schemes_that_are_sent_alike(apis):
    """A key of AgentBuilder goes into header and query, a token has to be given by its scheme."""
    found = load_target(apis, base_url=URL, keys=["agentbuilder=sk-1", "agentbuilder.bearer=jwt"])
    assert found.apis["agentbuilder"].keys == {"apiKey": "sk-1", "apiKeyInQuery": "sk-1", "bearer": "jwt"}


def test_target_file_wins_over_defaults_and_options_over_the_file(apis, tmp_path, monkeypatch):
    """Values come from the file, keys from the environment it names, the base URL from the option."""
    monkeypatch.setenv("CHAT_KEY", "app-from-environment")
    path = write(
        tmp_path,
        'base_url = "http://one"\nread_only = true\nrate = 2.5\ntimeouts = { stream_s = 7 }\n'
        '[api.dify-chat]\nkey = "${CHAT_KEY}"\nvalues = { inputs = { a = 1 } }\n',
    )
    found = load_target(apis, base_url="http://two", file=path)
    chat = found.apis["dify-chat"]
    assert (chat.base_url, chat.keys, chat.values) == (
        "http://two/v1",
        {"apiKey": "app-from-environment"},
        {"inputs": {"a": 1}},
    )
    assert (found.read_only, found.rate, found.stream_s, found.answer_s) == (True, 2.5, 7, 30)
    assert load_target(apis, file=path).apis["cybertron"].base_url == "http://one/openapi/v1"


def test_provocation_of_an_operation_wins_over_that_of_all(apis, tmp_path):
    """`operation` and `code` are looked for by name first, then as `*`."""
    path = write(
        tmp_path,
        '[provoke."*"."*"]\nheaders = { X = "{status} {code}" }\n'
        '[provoke."dify-chat/getInfo".unauthorized]\nbody = { a = "{code}" }\n',
    )
    found = load_target(apis, base_url=URL, file=path)
    info, meta = (apis["dify-chat"].operations[name] for name in ("getInfo", "getMeta"))
    assert found.find_provocation(info, "unauthorized", 401).body == {"a": "unauthorized"}
    assert found.find_provocation(info, "forbidden", 403).headers == {"X": "403 forbidden"}
    assert found.find_provocation(meta, "unauthorized", 401).headers == {"X": "401 unauthorized"}
    assert found.find_provocation(meta, "event:ping", 200) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("base_url = 5", "base_url: expected text, got 5"),
        ("baseurl = 'http://x'", "baseurl"),
        ("rate = -1", "rate: expected"),
        ("[api.dify-chat]\nkey = ''", "api.dify-chat.key"),
        ("[provoke.a]\nb = {}", "provoke.a.b"),
        ("base_url = ", "Correct the TOML"),
        ("[api.dify-chat]\nkey = '${NO_SUCH_VARIABLE}'", "Set the environment variable NO_SUCH_VARIABLE"),
    ],
)
def test_wrong_target_file_is_told_with_the_place(apis, tmp_path, text, said):
    """What is wrong in a target file is named, with the file."""
    path = write(tmp_path, text)
    with pytest.raises(TargetError) as error:
        load_target(apis, base_url=URL, file=path)
    assert said in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("[api.dify-chat.values]\ninptus = {}", "inputs"),
        ("[api.agentbuilder.second.values]\nflow_idd = 'x'", "flow_id"),
        ("[api.dify-chat.features]\ntext_to_speach = false", "text_to_speech"),
        ("[api.dify-chat.keys]\napikey = 'x'", "apiKey"),
        ("[api.dify-chat.failing]\nkye = 'x'", "key"),
        ("[api.agentbuilder.examples.runFlows.image]\nslow = true", "runFlow"),
        ("[api.agentbuilder.examples.runFlow.imgae]\nslow = true", "image"),
        ("[api.dify-chat]\nslwo = true", "slow"),
        ("timeouts = { anwser_s = 5 }", "answer_s"),
        ("read_olny = true", "read_only"),
        ("[provoke.'dify-chat/sendChatMesage'.forbidden]\nkey = 'x'", "sendChatMessage"),
        ("[provoke.'dify-chat/sendChatMessage'.forbiden]\nkey = 'x'", "forbidden"),
        ("[provoke.'dify-chat/sendChatMessage'.'event:mesage_end']\nkey = 'x'", "event:message_end"),
        ("[provoke.'dify-chat/sendChatMessage'.'status:2000']\nkey = 'x'", "status:200"),
        ("[provoke.'dify-chat/sendChatMessage'.forbidden]\nheader = {}", "headers"),
        ("[provoke.'*'.forbiden]\nkey = 'x'", "forbidden"),
        ("[provoke.'dify-chat/getInfo'.forbidden]\nkeys = { apikey = 'x' }", "apiKey"),
    ],
)
@pytest.mark.parametrize("asked", ["dify-chat", "cybertron"])
def test_misspelt_name_is_refused_with_what_was_meant(apis, tmp_path, text, meant, asked):
    """A value that is sent nowhere, a feature that nobody asks for: whoever wrote it is told, whatever is asked now."""
    path = write(tmp_path, f"{text}\n")
    with pytest.raises(FlowContractError, match=f'Did you mean "{meant}"') as error:
        load_target({asked: apis[asked]}, base_url=URL, keys=[f"{asked}=k"], file=path)
    assert str(path) in str(error.value)


def test_one_file_serves_whatever_is_asked(apis, tmp_path, monkeypatch):
    """Neither the keys nor the environment of another API are needed."""
    monkeypatch.setenv("CHAT_KEY", "app-1")
    path = write(
        tmp_path,
        "base_url = 'http://one'\n[api.dify-chat]\nkey = '${CHAT_KEY}'\n"
        "[api.agentbuilder]\nkey = '${NOT_SET}'\n[provoke.'agentbuilder/runFlow'.flow-failed]\nkey = '${NOT_SET}'\n",
    )
    chat = {"dify-chat": apis["dify-chat"]}
    assert load_target(chat, file=path).apis["dify-chat"].keys == {"apiKey": "app-1"}
    with pytest.raises(TargetError, match="NOT_SET"):
        load_target({"agentbuilder": apis["agentbuilder"]}, file=path)


def test_flows_of_a_file_have_what_the_api_has_and_their_own(apis, tmp_path):
    """A second account, a failing flow, the flow of an example: each with its key, its values, its pace."""
    path = write(
        tmp_path,
        "[api.agentbuilder]\nkey = 'sk-1'\nvalues = { flow_id = 'a', session_id = 's' }\n"
        "second = { key = 'sk-2' }\nfailing = { values = { flow_id = 'b' }, slow = true }\n"
        "examples.runFlow.image = { values = { flow_id = 'c' } }\n"
        "[provoke.'agentbuilder/runFlow'.wrong-api-key]\nkey = 'sk-3'\n",
    )
    found = load_target({"agentbuilder": apis["agentbuilder"]}, base_url=URL, file=path)
    target = found.apis["agentbuilder"]
    assert target.second.keys == {"apiKey": "sk-2", "apiKeyInQuery": "sk-2"}
    assert target.second.values == {"flow_id": "a", "session_id": "s"}
    assert (target.failing.keys, target.failing.values["flow_id"], target.failing.slow) == (
        target.keys,
        "b",
        True,
    )
    assert target.examples["runFlow"]["image"].values == {"flow_id": "c", "session_id": "s"}
    operation = target.api.operations["runFlow"]
    way = found.find_provocation(operation, "wrong-api-key", 403)
    assert way.find_keys(target.api) == {"apiKey": "sk-3", "apiKeyInQuery": "sk-3"}
    assert {"sk-1", "sk-2", "sk-3"} == set(found.secrets)


def test_keys_of_the_mock_go_to_the_mock_only(apis):
    """A server that is not the mock, and for which there is no key, is a misuse that says what to give."""
    asked = []

    def is_mock(url):
        asked.append(url)
        return False

    with pytest.raises(TargetError, match=r"No key for agentbuilder.*--key agentbuilder=KEY"):
        load_target(apis, base_url=f"{URL}/v1", is_mock=is_mock)
    assert asked == [f"{URL}/v1"]
    given = [f"{name}={next(iter(api.schemes.values())).mock_key}" for name, api in apis.items()]
    found = load_target(apis, base_url=URL, keys=given, is_mock=is_mock)
    assert not found.provoke
    assert not found.own_world


def test_mock_can_be_named(apis):
    """`--target mock` is the shipped file, whoever can see that it is the mock."""
    found = load_target(apis, base_url=URL, file=Path("mock"), is_mock=lambda _: False)
    assert found.own_world
    assert found.provoke


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "No base URL"),
        ({"base_url": "localhost:8080"}, "is not a base URL"),
        ({"base_url": URL, "keys": ["dify-chat"]}, "expected API=KEY"),
        ({"base_url": URL, "keys": ["dify-chat="]}, "expected API=KEY"),
    ],
)
def test_wrong_options_are_told(apis, options, said):
    """What is wrong with an option is told with what to write."""
    with pytest.raises(TargetError, match=said):
        load_target(apis, **options)


@pytest.mark.parametrize("key", ["dify-chatt=x", "dify-chat.bearer=x"])
def test_unknown_api_or_scheme_is_told_with_what_there_is(apis, key):
    """A key for what does not exist is a misuse."""
    with pytest.raises(UnknownNameError, match="There is: "):
        load_target(apis, base_url=URL, keys=[key])


def test_file_may_not_speak_of_an_api_that_is_not_there(apis, tmp_path):
    """A target file names APIs that are under test."""
    with pytest.raises(UnknownNameError, match="dify-chatt"):
        load_target(apis, base_url=URL, file=write(tmp_path, "[api.dify-chatt]\nkey = 'x'"))


def test_shipped_target_files_are_valid():
    """Every target file in the package follows its own schema."""
    shipped = sorted((Path(target.__file__).parent / "targets").glob("*.toml"))
    assert shipped
    assert all(target.read_target(path) for path in shipped)
