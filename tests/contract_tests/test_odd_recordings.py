"""Whatever stands in a recording is told in words, and spoils nothing but its entry."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from har_entries import CHAT, MESSAGES, SSE, STREAM, content, entry

from contract_tests.cli.main import main
from contract_tests.judging import recordings
from flowcontract.recordings.cutting import cut_entries
from flowcontract.recordings.untrusted import Unreadable

JUNK: tuple[Any, ...] = (None, True, -1, 10**30, 0.5, float("nan"), "", "\ud800\0", [], [[]], {}, {"a": None})


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every node."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], junk: Any) -> Any:
    """Return a copy with one node replaced."""
    if not path:
        return junk
    changed = copy.deepcopy(value)
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = junk
    return changed


SHORT = 'data: {"event": "ping"}\n\n'
SAMPLES = [
    {"log": {"entries": [entry(content(SHORT, encoding="")), entry(content(SHORT, compression=0))]}},
    {"log": {"entries": [entry(content(), _eventSourceMessages=MESSAGES[:1], _error="x")]}},
    {"log": {"entries": [entry(content(_file="body"), _app="chat", comment="c")]}},
    {
        "request": {"method": "POST", "path": "/v1/chat-messages", "app": "chat", "body": {}},
        "response": {"status": 200, "headers": [["Content-Type", SSE]], "body_text": "x", "body": {}},
    },
]


def judged_or_told(data: bytes, folder: Path) -> list[Any]:
    """Return what a recording is judged to be, or why it is none."""
    try:
        return list(recordings.judge_all(recordings.parse(data, "in.har", folder), [CHAT]))
    except Unreadable as problem:
        return [problem]


@pytest.mark.parametrize("number", range(len(SAMPLES)))
def test_any_json_in_the_place_of_any_other_is_told_in_words(number: int, tmp_path):
    """No exception but the one that says in a line what is wrong, whatever is there instead of what should be."""
    sample = SAMPLES[number]
    (tmp_path / "body").write_text(SHORT)
    for place in places(sample):
        for junk in JUNK:
            data = json.dumps(replaced(sample, place, junk)).encode()
            found = judged_or_told(data, tmp_path)
            assert found or place == ("log", "entries"), (place, junk)
            assert all(isinstance(item, Unreadable | recordings.Judged) for item in found)


def test_a_bad_entry_spoils_only_itself():
    """Whatever is wrong with it: the one after it is judged, and found broken."""
    good, broken = entry(content(SHORT)), entry(content(STREAM[:-600]))
    for place in places(good):
        junk = random.Random(str(place)).choice(JUNK)
        data = json.dumps({"log": {"entries": [replaced(good, place, junk), broken]}}).encode()
        *_, last = recordings.judge_all(recordings.parse(data, "in.har"), [CHAT])
        assert isinstance(last, recordings.Judged), (place, junk)
        assert last.violations, (place, junk)


@pytest.mark.parametrize(
    "bad",
    [
        "[" * 100_000 + "]" * 100_000,
        '{"request": ' + '{"a":' * 100_000 + "1" + "}" * 100_000 + "}",
        '{"request": nonsense}',
        '{"request": {"method": "GET", "url": ' + "9" * 5000 + "}}",
        "",
    ],
)
def test_what_is_no_json_spoils_only_its_entry(bad: str, tmp_path, capsys):
    """Too deep, or broken: the entries are cut apart by their brackets, and each is read for itself."""
    path = tmp_path / "in.har"
    good = json.dumps(entry())
    path.write_text(f'{{"log": {{"version": "1.2", "entries": [{good}, {bad}, {good}]}}}}')
    assert main(["judge", str(path)]) == (2 if bad else 0)
    captured = capsys.readouterr()
    assert captured.out.count("200: dify-chat/sendChatMessage") == 2
    assert ("entry 2: " in captured.out) == bool(bad)


def test_what_is_no_json_and_has_no_bounds_is_told_at_least(tmp_path, capsys):
    """A text that never ends swallows what comes after it: that is said, and never passes for a sound file."""
    path = tmp_path / "in.har"
    good = json.dumps(entry())
    path.write_text(f'{{"log": {{"entries": [{good}, "]}}, [, {good}]}}}}')
    assert main(["judge", str(path)]) == 2
    out = capsys.readouterr().out
    assert "200: dify-chat/sendChatMessage" in out
    assert "entry 2: it is not JSON" in out


def test_a_file_that_was_cut_off_is_judged_as_far_as_it_goes(tmp_path, capsys):
    """The last entry is told as broken."""
    path = tmp_path / "in.har"
    path.write_text(json.dumps({"log": {"entries": [entry(), entry()]}})[:-500])
    assert main(["judge", str(path)]) == 2
    assert "in.har: 1 judged, 1 not" in capsys.readouterr().out


def test_entries_are_cut_out_by_brackets_and_texts():
    """Brackets in texts, keys of the same name elsewhere, and lists in entries do not mislead."""
    assert list(
        cut_entries('{"x": {"entries": [1]}, "log": {"y": [2], "entries": ["],", {"log": [3]}, 4] }, "z": [5]}')
    ) == [
        '"],"',
        '{"log": [3]}',
        "4",
    ]
    assert list(cut_entries('{"log": {"entries": []}}')) == []
    assert list(cut_entries("[[[")) == []


@pytest.mark.parametrize("text", ["", "5", "[]", "{}", '{"log": 5}', '{"log": {"entries": 7}}', "{" * 100_000, "\xff"])
def test_a_file_that_is_no_recording_is_told_in_a_line(text: str, tmp_path, capsys):
    """Never a traceback."""
    path = tmp_path / "in.har"
    path.write_text(text, encoding="latin-1")
    assert main(["judge", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"contract-tests: {path} is not a recording: ")
    assert captured.err.count("\n") == 1
