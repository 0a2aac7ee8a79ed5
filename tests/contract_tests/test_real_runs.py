"""What was once reported of three real Dify releases, row by row: red, a note, or nothing, as people found it to be.

`tests/data/real-runs` has each violation with its verdict: `true` (the release breaks a promise), `lenient` (it takes
what a table forbids), `false` (no document says so) and `unclear`, which rulings have decided since.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

from contract_tests.cases.derive import derive_cases
from contract_tests.cases.refusals import expect_refusal
from contract_tests.http.exchange import Answer, SentRequest
from contract_tests.journeys.journey import Journey
from contract_tests.judging.expectations import ANYTHING, Expected
from contract_tests.judging.judge import Judge
from flowcontract.provenance.evidence import Tier, fails, find_tier
from flowcontract.specs.model import load_apis
from flowcontract.streams.totals import matches_joined

FOLDER = Path(__file__).parents[1] / "data" / "real-runs"
RELEASES = {path.stem.removeprefix("dify-"): path for path in sorted(FOLDER.glob("*.jsonl"))}
APIS = load_apis(["dify-chat", "dify-workflow"])
NOTHING = "nothing"
NOT_ASKED = {"2 example of other app", "10 rating left out", "11 no internet"}  # requests that such an app is not sent


@cache
def cases_by_id():
    return {case.id: case for api in APIS.values() for case in derive_cases(api, APIS.values())}


def rows(release):
    """Return what was reported of a release."""
    return [json.loads(line) for line in RELEASES[release].read_text(encoding="utf-8").splitlines()]


def operation_of(row):
    api, name = row["operation"].split("/")
    return APIS[api], APIS[api].operations[name]


def expected_of(row):
    """Return what the suite expects today of the request in a row; None where nobody asks it any more."""
    api, operation = operation_of(row)
    if row["test"] in cases_by_id():
        return cases_by_id()[row["test"]].expected
    if row["test"].startswith("fuzzing/"):
        statuses = frozenset(status for status in operation.responses if status < 500)
        return Expected("the server did not fail", statuses)
    if "/" in row["test"] and row["test"].count("/") == 1:
        return of_journey(row, api, operation)
    if "/invalid/" in row["test"]:
        return expect_refusal(operation, ("invalid-request",), row["expected"])
    return None


def of_journey(row, api, operation):
    """Return what a journey expects of a request that it wants refused."""
    journey = Journey.__new__(Journey)
    journey.api = api
    of_message = operation.id in ("sendMessageFeedback", "listSuggestedQuestions")
    if "deleted" in row["test"]:
        return journey.expect_refusal(operation, "unknown-id", "it was deleted", () if of_message else ("004:690",))
    if "uploaded_file" in row["test"]:
        source = ("001:402", "ruling dify-workflow/uploads-belong-to-their-user")
        return journey.expect_refusal(operation, "invalid-request", "it is another user's", source)
    return ANYTHING


def tier(row):
    """Return the tier that today's suite gives a row; `nothing` where it does not object any more."""
    if row["rule"] in ("status", "outcome", "code", "media-type", "required", "allow", "json"):
        return of_answer(row)
    if row["rule"] in ("answer", "silence", "budget"):
        return Tier.SERVER_ERROR
    if row["rule"] == "concatenates":
        return of_pieces(row)
    if row["rule"] == "not-before":
        return NOTHING if int(row["got"]) >= int(re.search(r"\d+$", row["expected"])[0]) - 1 else Tier.DOCUMENT
    if row["rule"] == "agree" and "elapsed_time" in row["expected"]:
        return NOTHING if abs(float(row["expected"].split()[-1]) - float(row["got"])) <= 1 else Tier.DOCUMENT
    api, _ = operation_of(row)
    return find_tier(row["source"], api.rulings)


def of_answer(row):
    """Answer as the row says, judge it, and return the tier of what is found by its rule."""
    api, operation = operation_of(row)
    expected = expected_of(row)
    if expected is None:
        return NOTHING
    judge = Judge(api, operation, expected)
    verdict = judge.conclude(SentRequest("POST", "http://127.0.0.1/", ()), answer(row, operation, expected))
    found = [violation.tier for violation in verdict.violations if violation.rule == row["rule"]]
    return found[0] if found else NOTHING


def answer(row, operation, expected):
    """Return the answer of a row as far as it is known."""
    if row["rule"] in ("status", "outcome"):
        status, _, body = row["got"].partition(" ")
        return Answer(int(status), {"content-type": "application/json"}, body.encode())
    refused = min((status for status in expected.statuses if status >= 400), default=404)
    status = 405 if row["rule"] in ("required", "allow") else 200 if "audio" in row["expected"] else refused
    if row["rule"] == "code":
        body = json.dumps({"code": row["got"], "message": "", "status": status}).encode()
        return Answer(status, {"content-type": "application/json"}, body)
    return Answer(status, {"content-type": row["got"] if row["rule"] == "media-type" else "application/json"}, b"{}")


def of_pieces(row):
    whole = json.loads(re.search(r'"(?:[^"\\]|\\.)*"$', row["expected"])[0])
    joined = json.loads(row["got"])
    if "..." in whole:  # a long text is shown without its middle, and with as many letters behind it
        joined = joined.partition("...")[2]
        whole = whole[-len(joined.rstrip()) :]
    pieces = re.findall(r"[^.]+\.? ?", joined)
    return NOTHING if matches_joined(pieces, whole) else Tier.RULING


def is_red(found):
    return found != NOTHING and fails(found)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(("verdict", "red"), [("true", True), ("lenient", False), ("false", False), ("unclear", False)])
def test_tier_of_every_row_is_as_its_verdict_wants(release, verdict, red):
    """True differences are red by default; what no document says is a note or nothing."""
    asked = [row for row in rows(release) if row["verdict"] == verdict and row["kind"] not in NOT_ASKED]
    wrong = [(row, tier(row)) for row in asked]
    assert [
        (row["kind"], row["test"], row["rule"], row["where"], str(found))
        for row, found in wrong
        if is_red(found) != red
    ] == []
