"""The suite and the mock under the profiles of real releases: each release is itself, and no other one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from contract_tests.config.target import MOCK
from contract_tests.judging.causes import describe_cause
from flowcontract import yamlio
from flowcontract.paths import find_specs_root
from flowcontract.schemas.violations import Violation
from flowcontract.specs.profiles import list_profiles
from mockserver.config.settings import Settings
from mockserver.server.mock_server import MockServer

# The releases that are asked together: one API of each run has one profile.
RUNS = [
    {"dify-chat": "1.14", "dify-workflow": "1.14"},
    {"dify-chat": "1.4", "dify-workflow": "1.4", "agentbuilder": "1.4"},
    {"dify-chat": "0.14", "dify-workflow": "0.14", "agentbuilder": "1.13"},
    {"dify-workflow": "older"},
]
CAUSES = yamlio.load(Path(__file__).parents[1] / "data" / "releases" / "causes.yaml")
PATIENT = "timeouts = { stop_s = 0.3 }"
IMPATIENT = "timeouts = { stop_s = 0.3, answer_s = 8, silence_s = 16 }"
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def run_suite(folder, apis, judged, *, profiles, asked="not fuzz"):
    """Run `contract-tests` against a mock with profiles; return its status, its words, its report."""
    options = [argument for name in apis for argument in ("--api", name)]
    options += [argument for api, name in judged.items() for argument in ("--profile", f"{api}={name}")]
    impatient = folder / "impatient.toml"  # a release that hangs does so for ever, and the mock is quick
    patient = MOCK.read_text(encoding="utf-8")
    assert PATIENT in patient
    impatient.write_text(patient.replace(PATIENT, IMPATIENT), encoding="utf-8")
    options += ["--target", impatient]
    with MockServer(tuple(apis), profiles=profiles, settings=Settings(pace=0)) as server:
        options += ["--base-url", f"http://127.0.0.1:{server.port}", "--report", folder, "-k", asked]
        command = [sys.executable, "-m", "contract_tests", *options]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=240, check=False, cwd=folder, env=_ENVIRONMENT
        )
    return done.returncode, done.stdout + done.stderr, json.loads((folder / "report.json").read_text())


def test_every_profile_is_run():
    """A new profile belongs into one of the runs."""
    there = {
        (path.parent.name, name) for path in find_specs_root().glob("*/openapi.yaml") for name in profiles_of(path)
    }
    assert {(api, name) for run in RUNS for api, name in run.items()} == there


def profiles_of(path):
    """Return the profiles of an API, by its `openapi.yaml`."""
    return list_profiles(path.parent)


@pytest.mark.parametrize("profiles", RUNS, ids=lambda run: " ".join(f"{api}={name}" for api, name in run.items()))
def test_a_mock_under_a_profile_passes_the_suite_that_judges_by_it(profiles, tmp_path):
    """Whatever the suite asks, and whichever stream it asks for by name, the mock answers as the release does.

    What fails all the same are failures of the release itself (`own` in releases/causes.yaml).
    """
    status, said, report = run_suite(tmp_path, profiles, profiles, profiles=profiles)
    own = {each for api, name in profiles.items() for each in CAUSES["own"].get(f"{api}={name}", ())}
    assert {each["id"] for each in report["causes"] if each["kind"] == "failure"} == own, said
    assert status == bool(own)
    assert {note["id"] for note in report["notes"]} == set()
    assert report["exchanges"] > 250


@pytest.mark.parametrize("served", [{}, {"dify-chat": "1.4"}], ids=["the documents", "1.4"])
def test_a_server_of_another_release_is_told(served, tmp_path):
    """Who asks a server whether it is 1.14 learns that it is not, and by what."""
    judged = {"dify-chat": "1.14"}
    status, said, _ = run_suite(tmp_path, judged, judged, profiles=served, asked="sendChatMessage and documented")
    assert status == 1, said
    assert "/data/sequence_number" in said


# What is said of a release by the documents.

REAL_RUNS = Path(__file__).parents[1] / "data" / "real-runs"
RELEASES = {"0.14": "0.14.0", "1.4": "1.4.1", "1.14": "1.14.2"}
JUDGED = {"0.14": {"dify-workflow": "older"}}  # as the release was judged; the others by the newest documents


def true_causes(release):
    """Return the ids of what was truly different in a release, but for what only fuzzing found."""
    lines = (REAL_RUNS / f"dify-{release}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [
        row for row in map(json.loads, lines) if row["verdict"] == "true" and not row["test"].startswith("fuzzing/")
    ]
    found = ((row["operation"], Violation(row["rule"], row["expected"], row["got"], row["where"])) for row in rows)
    return {f"{operation}#{describe_cause(violation)}" for operation, violation in found}


@pytest.mark.parametrize("profile", RELEASES)
def test_the_documents_say_of_a_profile_what_they_say_of_its_release(profile, tmp_path):
    """Operation, rule and what came are those of its true rows; releases/causes.yaml says where they are not."""
    served = {"dify-chat": profile, "dify-workflow": profile}
    status, said, report = run_suite(tmp_path, served, JUDGED.get(profile, {}), profiles=served)
    assert status == 1, said
    of_mock = {each["id"] for each in report["causes"] if each["kind"] == "failure"}
    of_release = true_causes(RELEASES[profile])
    known = CAUSES[profile]
    assert len(of_release) > 10
    assert of_release - of_mock == set(known.get("only_the_release", ()))
    assert of_mock - of_release == set(known.get("only_the_mock", ()))
