"""How bodies are read: media types in any case, and names of files as clients of all kinds write them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mock_calls import Caller

KEY = "app-chat-bodies"


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('filename="plain.txt"', "plain.txt"),
        ("filename=plain.txt", "plain.txt"),
        (r'filename="C:\dir\new.txt"', r"C:\dir\new.txt"),
        (r'filename="a\qb\n.txt"', r"a\qb\n.txt"),
        (r'filename="a\"b.txt"', 'a"b.txt'),
        (r'filename="a\\b.txt"', r"a\b.txt"),
        (r'filename="\\server\share\x.txt"', r"\server\share\x.txt"),
        ('filename="a%22b%5C.txt"', 'a"b%5C.txt'),
        ('filename="a; name=b.txt"', "a; name=b.txt"),
        ('filename="ü.txt"', "ü.txt"),
        ("filename*=UTF-8''%e4%bd%a0.txt; filename=\"y.txt\"", "你.txt"),
        ("filename=\"y.txt\"; filename*=UTF-8''%e4%bd%a0.txt", "你.txt"),
        ("FileName=\"y.txt\"; FILENAME*=utf-8'zh'%E4%BD%A0.txt", "你.txt"),
        ("filename*=iso-8859-1''%e4.txt; filename=y.txt", "ä.txt"),
        ("filename*=UTF-8''%ff.txt; filename=y.txt", "y.txt"),
        ("filename*=KOI8-R''%e4.txt; filename=y.txt", "y.txt"),
        ("filename*=nonsense; filename=y.txt", "y.txt"),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["name first", "name last"])
def test_file_name_is_read_as_it_was_meant(mock: Caller, disposition: str, name: str, first: bool) -> None:
    """A backslash stays unless it stands before a quote or itself; `filename*` wins in any order (RFC 6266, 4.3)."""
    parameters = f'Name="file"; {disposition}' if first else f"{disposition}; name=file"
    head = f"--b\r\nContent-Disposition: Form-Data; {parameters}\r\nContent-Type: text/plain\r\n\r\n".encode()
    body = head + b"abc\r\n--b--\r\n"
    kind = "Multipart/Form-Data; Boundary=b"
    answer = mock.ask("POST", "/v1/files/upload", key=KEY, body=body, Content_Type=kind)
    assert (answer.status, answer.json["name"]) == (201, name)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("Application/JSON", json.dumps({"user": "u"}).encode()),
        ("APPLICATION/JSON; Charset=UTF-8", json.dumps({"user": "u"}).encode()),
    ],
)
def test_json_is_json_in_any_case(mock: Caller, kind: str, body: bytes) -> None:
    """Media types ignore case (RFC 9110, 8.3.1)."""
    answer = mock.ask("POST", "/v1/chat-messages/x/stop", key=KEY, body=body, Content_Type=kind)
    assert answer.status == 200


@pytest.mark.parametrize(
    ("kind", "part"),
    [("Image/PNG", "image/png"), ("IMAGE/PNG; x=Y", "image/png")],
)
def test_type_of_a_part_ignores_case(mock: Caller, kind: str, part: str) -> None:
    """It is told in lower case, as the real servers do."""
    head = f'--b\r\ncontent-disposition: form-data; name="file"; filename="a.png"\r\ncontent-type: {kind}\r\n\r\n'
    body = head.encode() + b"PNG\r\n--b--\r\n"
    answer = mock.ask("POST", "/v1/files/upload", key=KEY, body=body, Content_Type="MULTIPART/FORM-DATA; boundary=b")
    assert (answer.status, answer.json["mime_type"]) == (201, part)
    assert mock.app.mock.journal.list_entries()[-1].form["file"]["content_type"] == part


@pytest.mark.parametrize("body", [b"1e999", b'{"tweaks": 1e999}', b'{"tweaks": {"a": -1e999}, "output_type": 1e999}'])
def test_number_that_no_float_holds_makes_no_answer_that_is_not_json(mock: Caller, body: bytes) -> None:
    """JSON has no Infinity (RFC 8259, 6): neither the answer, nor the journal, nor its events say it."""
    path = "/api/v1/run/a430cc57-06bb-4c11-be39-d3d4de68d2c4"
    answer = mock.ask("POST", path, body=body, Content_Type="application/json", x_api_key="sk-agentbuilder")
    told = [answer, mock.ask("GET", "/__mock__/requests?limit=1")]
    for each in told:
        json.loads(each.body, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert answer.status == 422
    assert mock.app.mock.journal.list_entries()[-1].content == body
