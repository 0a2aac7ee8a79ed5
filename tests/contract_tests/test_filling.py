"""Requests as an app takes them: by its own form and features, never by the variables of the documents' samples."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contract_tests.cases.app_inputs import Control, Files, break_bound, read_file_upload, read_form
from contract_tests.cases.derive import derive_cases
from contract_tests.config.target import load_target
from contract_tests.suite.filling import Filler
from contract_tests.suite.not_exercised import NotExercised
from flowcontract.specs.model import load_apis

APIS = load_apis(["dify-workflow", "dify-chat"])
CASES = {case.id: case for api in APIS.values() for case in derive_cases(api, APIS.values())}
RUN = "dify-workflow/runWorkflow"
CHAT = "dify-chat/sendChatMessage"
TARGET = load_target(APIS, base_url="http://127.0.0.1:1")
URL = "http://files.example/picture.png"


class Source:
    """A source of values: an app that says what a test says, and that has whatever is needed."""

    def __init__(self, form=(), file_upload=None, reachable_url="", values=None):
        """Say a form and the files beside it."""
        self.target = replace(TARGET, reachable_url=reachable_url)
        self.values = values or {}
        self._parameters = {"user_input_form": list(form), "file_upload": file_upload}

    def read_parameters(self, api):
        """Return what the app says of itself."""
        return self._parameters

    def obtain(self, api, name, sort=""):
        """Return what stands for a thing of the server."""
        return f"made {name} {sort}".strip()


def control(kind, name, **more):
    """Return a control as a server tells it."""
    return {kind: {"label": name, "variable": name, "required": False, **more}}


def sent(source, case_id):
    """Return the body that a case is asked with."""
    case = CASES[case_id]
    return Filler(source, case.operation, case.keep, source.values).fill(case.request).body


IMAGES = {"image": {"enabled": True, "number_limits": 3, "transfer_methods": ["remote_url", "local_file"]}}


def test_inputs_that_the_app_does_not_have_are_not_sent():
    """The documents' variables mean nothing to another app."""
    assert sent(Source(), f"{CHAT}/documented/blocking")["inputs"] == {}
    named = Source([control("text-input", "称呼")], IMAGES, URL)
    assert sent(named, f"{CHAT}/documented/documented")["inputs"] == {"称呼": "dify"}
    other = Source([control("number", "name")], IMAGES, URL)
    assert sent(other, f"{CHAT}/documented/documented")["inputs"] == {}


def test_file_goes_to_the_variable_that_takes_one():
    """A list to a list, a single file to a single file, and a place that is tested goes along."""
    source = Source([control("file", "doc"), control("file-list", "docs")])
    file = {"transfer_method": "local_file", "upload_file_id": "made upload_file_id document", "type": "document"}
    assert sent(source, f"{RUN}/documented/file-list")["inputs"] == {"docs": [file]}
    assert sent(source, f"{RUN}/documented/one-file")["inputs"] == {"doc": file}
    wrong = sent(source, f"{RUN}/invalid/inputs.variable_name.0.type null")
    assert wrong["inputs"] == {"docs": [{**file, "type": None, "upload_file_id": "made upload_file_id"}]}


@pytest.mark.parametrize(
    "name", ["documented/one-file", "documented/sample-code-one-file", "invalid/inputs.orig_mail.type null"]
)
@pytest.mark.parametrize("form", [[], [control("file-list", "orig_mail")], [control("text-input", "orig_mail")]])
def test_file_is_not_asked_of_an_app_without_such_a_variable(name, form):
    """A sample for a list is none for a single file, whatever the variable is called."""
    with pytest.raises(NotExercised, match="no variable that takes a file"):
        sent(Source(form), f"{RUN}/{name}")


def test_required_inputs_are_sent_with_every_request():
    """Each kind of control gets a value that it takes; what the target file gives comes first."""
    form = [
        control("text-input", "name", required=True, max_length=5),
        control("select", "mode", required=True, options=["slow", "fast"]),
        control("number", "count", required=True),
        control("file-list", "pictures", required=True, allowed_file_types=["image"]),
        control("paragraph", "note"),
    ]
    inputs = sent(Source(form), f"{RUN}/documented/curl")["inputs"]
    picture = {"type": "image", "transfer_method": "local_file", "upload_file_id": "made upload_file_id image"}
    assert inputs == {"name": "contr", "mode": "slow", "count": 1, "pictures": [picture]}
    given = Source(form, values={"inputs": {"name": "mine", "note": "too"}})
    assert sent(given, f"{RUN}/documented/curl")["inputs"] == {**inputs, "name": "mine", "note": "too"}


def test_required_inputs_are_sent_where_a_request_may_have_none():
    """The contract lets `inputs` be absent; an app whose form requires one refuses that."""
    case = f"{CHAT}/generated/nothing optional"
    assert "inputs" not in sent(Source([control("text-input", "name")]), case)
    assert sent(Source([control("text-input", "name", required=True)]), case)["inputs"] == {"name": "contract test"}
    other = "dify-workflow/stopWorkflow/generated/nothing optional"
    form = [control("text-input", "name", required=True)]
    assert all("inputs" not in sent(Source(form), name) for name in CASES if name.startswith(other))


def test_required_input_stands_beside_what_is_tested():
    """Else the request would be refused for the wrong reason."""
    form = [control("text-input", "name", required=True), control("file", "doc")]
    inputs = sent(Source(form), f"{RUN}/invalid/inputs.variable_name.transfer_method enum")["inputs"]
    assert inputs["name"] == "contract test"
    assert inputs["doc"]["transfer_method"] == ""


def test_file_is_of_a_sort_that_the_variable_takes():
    """An app for pictures gets a picture."""
    source = Source([control("file", "doc", allowed_file_types=["image"])])
    file = sent(source, f"{RUN}/documented/one-file")["inputs"]["doc"]
    assert (file["type"], file["upload_file_id"]) == ("image", "made upload_file_id image")
    by_url = Source([control("file", "doc", allowed_file_upload_methods=["remote_url"])])
    with pytest.raises(NotExercised, match="takes no files by local_file"):
        sent(by_url, f"{RUN}/documented/one-file")


def test_file_by_url_is_asked_only_with_an_address_that_the_server_reaches():
    """A server may have no internet; the target file names what it can fetch."""
    with pytest.raises(NotExercised, match="reachable_url"):
        sent(Source(file_upload=IMAGES), f"{CHAT}/documented/documented")
    body = sent(Source(file_upload=IMAGES, reachable_url=URL), f"{CHAT}/documented/documented")
    assert [file["url"] for file in body["files"]] == [URL]


@pytest.mark.parametrize("told", [None, {}, {"image": {"enabled": False}}, {"enabled": False}, "broken", {"image": []}])
def test_files_beside_the_inputs_are_asked_only_of_an_app_that_takes_some(told):
    """`file_upload` says so."""
    with pytest.raises(NotExercised, match="takes no files"):
        sent(Source(file_upload=told), f"{CHAT}/documented/uploaded-file")


def test_what_is_made_from_a_documented_request_needs_no_address():
    """All other cases of an operation can be asked of a server without internet."""
    with_url = [case.id for case in CASES.values() if "http" in str(case.request.body) and case.family != "documented"]
    assert all("invalid/files.0" in name for name in with_url)
    assert not any("url" not in name for name in with_url)


ODD = {"variable": "x", "max_length": "many", "options": 5, "allowed_file_types": [1]}


@pytest.mark.parametrize(
    "form", [None, "x", 5, [None], [[]], [{"text-input": None}], [{"text-input": {"variable": 5}}], [{"file": ODD}]]
)
def test_form_that_is_none_is_told_by_the_contract_and_breaks_nothing(form):
    """A server may say anything."""
    assert all(isinstance(found, Control) for found in read_form(form))


def test_files_are_read_in_both_forms():
    """Older apps tell of images only."""
    assert read_file_upload(IMAGES) == Files(("image",), ("remote_url", "local_file"))
    newer = {
        "enabled": True,
        "allowed_file_types": ["document", "custom"],
        "allowed_file_upload_methods": ["local_file"],
    }
    assert read_file_upload({"enabled": True, **newer}) == Files(("document",), ("local_file",))


@pytest.mark.parametrize(
    ("told", "how", "value"),
    [
        (control("text-input", "a", max_length=3), "longest", "xxxx"),
        (control("text-input", "a"), "longest", None),
        (control("select", "a", options=["x"]), "options", "none of the options"),
        (control("number", "a"), "number", "twelve"),
        (control("paragraph", "a"), "number", None),
    ],
)
def test_value_against_a_bound_of_a_control(told, how, value):
    """What has no such bound is not tried."""
    assert break_bound(read_form([told])[0], how) == value


NULLS = [
    *(f"sendChatMessage/generated/{name} null" for name in ("response_mode", "conversation_id", "files")),
    "sendChatMessage/generated/auto_generate_name null",
    *(f"renameConversation/generated/{name} null" for name in ("name", "auto_generate")),
    "convertTextToAudio/generated/text null",
]


@pytest.mark.parametrize("name", NULLS)
def test_null_of_an_optional_field_is_its_absence(name):
    """Every release of Dify takes it; since no document says so, a server that refuses it gets no more than a note."""
    case = CASES[f"dify-chat/{name}"]
    assert None in case.request.body.values()
    assert (case.expected.refused, case.expected.promised) == (False, False)
    assert f"dify-chat/{name}".replace("generated", "invalid") not in CASES


def test_null_of_a_required_field_is_refused():
    """It is no value of its type, and nothing else stands in for it."""
    assert CASES["dify-chat/sendChatMessage/invalid/query null"].expected.refused is True


@pytest.mark.parametrize(
    ("name", "statuses", "codes"),
    [
        ("dify-chat/renameConversation/invalid/user type", {404}, set()),
        ("dify-chat/renameConversation/generated/user null", {200, 404}, set()),
        ("dify-chat/sendMessageFeedback/generated/nothing optional", {400}, set()),
        ("dify-chat/sendMessageFeedback/generated/rating=None", {400}, set()),
        ("dify-workflow/uploadFile/invalid/user type", set(), {"too_many_files"}),
        ("dify-workflow/listWorkflowLogs/keys/of dify-chat", {200, 404}, set()),
        ("dify-chat/sendMessageFeedback/keys/of dify-workflow", {404}, {"not_found"}),
    ],
)
def test_what_no_document_speaks_against_is_accepted(name, statuses, codes):
    """`also` in server_values.yaml says so, and why."""
    expected = CASES[name].expected
    assert statuses <= expected.statuses
    assert codes <= expected.codes
    assert "; or " in expected.because


def test_name_is_not_judged_where_it_is_not_looked_at():
    """The wrong name stands in a request that generates none."""
    wrong = [case for case in CASES.values() if "renameConversation/invalid/name" in case.id]
    assert wrong
    assert not any(case.request.body.get("auto_generate") for case in wrong)
