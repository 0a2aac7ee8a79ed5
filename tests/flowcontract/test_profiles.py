"""The profiles of real releases: each accepts what its release said, and refuses what another one says otherwise."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from release_cases import FOLDER, RELEASES, Recording, judged, media_of, operation_of, recordings, violations

from flowcontract.errors import UnknownNameError
from flowcontract.paths import find_specs_root
from flowcontract.specs.model import load_api
from flowcontract.specs.profiles import list_profiles
from flowcontract.streams.sse import Decoder

# Recordings that are no whole answers, and why: nothing that a profile says could make them one.
INCOMPLETE = {
    "102_run_streaming_client_disconnects": "the client left",
    "048_run_empty_inputs_required_missing_streaming": "1.14.2 sends a ping and then nothing",
    "run_file_tweak_missing_file_stream": "1.4.3 closes the stream of a run that failed without a word",
}

# What may be missing from a stream, or change places with its neighbour, without anybody being able to tell; why.
DROPPED = {
    "ping": "how often there was silence is no matter of the contract; the first one is (1.14)",
    "message_replace": "whether a text is replaced is the moderator's decision",
    "log": "how much a component logs is its own decision",
    "add_message": "whether a run begins with a question is its flow's decision",
}
DROPPED_SOMEWHERE = {
    ("message", "failed"): "a failed run puts out nothing to compare the pieces with",
    ("message", "stopped"): "nor does a stopped one",
    ("text_chunk", "dify-1.14.2"): "pieces of 1.14 are of any variable, which no later event repeats",
    ("node_finished", "dify-1.14.2/100"): "a stopped run leaves nodes open",
    ("node_finished", "dify-1.14.2/200"): "a stopped run leaves nodes open",
    ("error", "run_file_no_tweak_stream"): "a run may fail before a component does, and tells only its own error",
}
FREE = (
    ({"ping"}, "a ping comes after a silence, wherever that is"),
    ({"message", "text_chunk"}, "pieces come while nodes run; which one writes them is not said"),
    ({"parallel_branch_started", "parallel_branch_finished"}, "branches run beside each other"),
    ({"node_retry"}, "the last retry is told after its node has ended, or before"),
    ({"log"}, "a component may log at any time"),
)
NODES = {"node_started", "node_finished"}


def _streams() -> dict[str, tuple[str, Recording]]:
    """Return every whole recorded stream by its name, with the profile of its release."""
    return {
        f"{release}/{recording.name}": (profile, recording)
        for release, profile in RELEASES.items()
        for recording in recordings(release)
        if recording.streamed and recording.name not in INCOMPLETE and operation_of(recording, None)
    }


STREAMS = _streams()


def test_profiles_are_listed_as_people_count_releases() -> None:
    """1.14 comes after 1.4, and words after numbers."""
    assert list_profiles(find_specs_root() / "dify-chat") == ("0.14", "1.4", "1.14")
    assert list_profiles(find_specs_root() / "dify-workflow") == ("0.14", "1.4", "1.14", "older")
    with pytest.raises(UnknownNameError, match=r'No profile of agentbuilder "1\.14"\. There is: 1\.4, 1\.13\.'):
        load_api("agentbuilder", profile="1.14")


@pytest.mark.parametrize("release", RELEASES)
def test_every_recording_of_a_release_conforms_to_its_profile(release: str) -> None:
    """Whatever a release answered is what its profile says, but for streams that were broken off."""
    found = {recording.name: [str(one) for one in wrong] for recording, wrong in judged(release, RELEASES[release])}
    assert len(found) > 100
    assert {name: wrong for name, wrong in found.items() if wrong and name not in INCOMPLETE} == {}
    broken_off = {name for name in found if name in INCOMPLETE and found[name]}
    assert all(len(found[name]) == 1 and "end" in found[name][0] for name in broken_off)


@pytest.mark.parametrize("release", RELEASES)
def test_a_status_that_a_release_does_not_have_is_refused(release: str) -> None:
    """A profile declares statuses one by one."""
    for recording in recordings(release):
        if asked := operation_of(recording, RELEASES[release]):
            other = Recording(**{**_fields(recording), "status": 418})
            assert [one.rule for one in violations(*asked, other)][-1] == "status"


def _fields(recording: Recording) -> dict[str, object]:
    return {name: getattr(recording, name) for name in Recording.__dataclass_fields__}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_with_an_event_of_another_name_is_refused(name: str) -> None:
    """A kind that the release does not have is none of its events."""
    blocks = _blocks(name)
    for index, block in enumerate(blocks):
        kind = _kind(block)
        changed = block.replace(kind.encode(), kind.encode() + b"_x", 1)
        assert _refused(name, [*blocks[:index], changed, *blocks[index + 1 :]]), f"{kind}_x passes"


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_without_one_of_its_events_is_refused(name: str) -> None:
    """Dropping any event is noticed, but for those that are listed with a reason."""
    blocks = _blocks(name)
    unnoticed = {
        _kind(block)
        for index, block in enumerate(blocks)
        if not _is_nothing(block) and not _refused(name, blocks[:index] + blocks[index + 1 :])
    }
    excused = {kind for kind, where in DROPPED_SOMEWHERE if where in name or where in _outcome(name)}
    assert unnoticed - set(DROPPED) <= excused
    if name.startswith("dify-1.14"):
        assert _refused(name, blocks[1:]), "the first ping may be missing"


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_with_two_events_in_the_wrong_order_is_refused(name: str) -> None:
    """Neighbours that change places are noticed, unless one of them may stand anywhere there."""
    blocks = _blocks(name)
    pairs = enumerate(itertools.pairwise(blocks))
    unnoticed = {
        (_kind(first), _kind(second))
        for index, (first, second) in pairs
        if not _refused(name, [*blocks[:index], second, first, *blocks[index + 2 :]])
        and not (_kind(first) == _kind(second) and (_is_nothing(first) or _is_nothing(second) or first == second))
    }
    assert {pair for pair in unnoticed if not _may_swap(name, *pair)} == set()


def _may_swap(name: str, first: str, second: str) -> bool:
    """Tell whether two neighbours may change places: by a listed reason, or as nodes that run beside each other."""
    if {first, second} <= NODES:  # 1.14 tells no node's predecessor, so all may run beside each other
        return name.startswith("dify-1.14") or "parallel" in name
    if first == second == "message":
        return "stopped" in name  # a stopped run puts out nothing to compare the pieces with
    return any(kinds & {first, second} for kinds, _ in FREE)


@pytest.mark.parametrize("release", RELEASES)
def test_a_profile_accepts_of_other_releases_only_what_is_the_same(release: str) -> None:
    """tests/data/releases/refused.json says which recordings each profile refuses of each release, for people to read.

    `python tests/release_cases.py` writes it anew.
    """
    table = json.loads((FOLDER / "refused.json").read_text(encoding="utf-8"))
    for profile, names in table[release].items():
        found = sorted({recording.name for recording, wrong in judged(release, profile) if wrong})
        assert found == names, f"{release} by the profile {profile}"
        assert len(set(names) - set(INCOMPLETE)) > 20 or profile == RELEASES[release]


# Answers of one release that another one's profile accepts although the same request got others there, and why.
ALIKE = {
    "403_x_retry_streaming": "1.4 tells that a node is tried again, and need not have tried",
    "405_x_default_value_streaming": "likewise",
    "409_x_input_moderation_clean": "whether a text is replaced is the moderator's decision",
    "v2_download_return_content": "1.4 sends the file as it is; 1.13 may do so, too",
}


def test_an_answer_that_two_profiles_accept_is_the_same_in_both_releases() -> None:
    """Where both gave an answer of one status and code, it has the same fields, or events, in both.

    Which of its answers a request gets is not in an answer: a release may refuse what another one takes.
    """
    compared, different = set(), set()
    for release, other in itertools.permutations(RELEASES, 2):
        theirs = {_plain(recording.name): recording for recording in recordings(other)}
        for recording, wrong in judged(release, RELEASES[other]) if _server(release) == _server(other) else ():
            same = theirs.get(_plain(recording.name))
            if wrong or same is None or _answer(same) != _answer(recording) or recording.cut or same.cut:
                continue
            compared.add((release, other, recording.name))
            if _parts(recording) != _parts(same):
                different.add(recording.name)
    assert different == set(ALIKE)
    assert len(compared) > 500


def _server(release: str) -> str:
    return release.partition("-")[0]


def _plain(name: str) -> str:
    """Return the name of a request without its number, which is its release's own."""
    return re.sub(r"^\d+_", "", name)


def _answer(recording: Recording) -> tuple[int, object]:
    said = _said(recording)
    return recording.status, said.get("code") if isinstance(said, dict) else None


def _said(recording: Recording) -> object:
    try:
        return json.loads(recording.body)
    except ValueError:
        return None


def _parts(recording: Recording) -> object:
    """Return the media type of an answer, with the kinds of its events, or the names of its fields."""
    media_type = recording.headers.get("content-type", "").partition(";")[0]
    if recording.streamed:
        kinds = re.findall(r'"event": ?"(\w+)"|^event: (\w+)', recording.body, re.MULTILINE)
        return media_type, {one or other for one, other in kinds} - {"ping", "message", "text_chunk", "log", "token"}
    said = _said(recording)
    return media_type, set(said) if isinstance(said, dict) else type(said)


def _blocks(name: str) -> list[bytes]:
    profile, recording = STREAMS[name]
    asked = operation_of(recording, profile)
    assert asked
    media = media_of(asked[1], recording)
    assert media
    assert media.stream
    raw = recording.body.encode()
    starts = [block.start for block in Decoder(media.stream.framing).feed(raw)]
    return [raw[start:end] for start, end in zip(starts, [*starts[1:], len(raw)], strict=True)]


def _refused(name: str, blocks: list[bytes]) -> bool:
    profile, recording = STREAMS[name]
    asked = operation_of(recording, profile)
    return bool(asked and violations(*asked, recording, b"".join(blocks)))


def _kind(block: bytes) -> str:
    found = re.search(rb'"?event"?: ?"?(\w+)', block)
    assert found
    return found[1].decode()


def _outcome(name: str) -> set[str]:
    """Return how the run of a stream ended, unless well."""
    ends = [line for line in STREAMS[name][1].body.split("\n") if "workflow_finished" in line]
    return {status for line in ends for status in re.findall(r'"status": ?"(failed|stopped)"', line)}


def _is_nothing(block: bytes) -> bool:
    """Tell whether a block is an empty piece of text, which adds nothing."""
    return bool(re.search(rb'"(answer|text)": ?""', block)) and _kind(block) in ("message", "text_chunk")
