"""The contract's own checks: each planted mistake is found, alone and at its line, and a clean contract is clean."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from flowcontract import paths, yamlio
from flowcontract.lint import Finding, run
from flowcontract.lint.cli import main
from flowcontract.lint.scenarios import check_folder

LINT = Path(__file__).parents[1] / "data" / "lint"
MISTAKES = {mistake["name"]: mistake for mistake in yamlio.load(LINT / "mistakes.yaml")}


@pytest.fixture
def sample(tmp_path):
    """Return a copy of the sample: a small contract with everything in it that a contract has."""
    return Path(shutil.copytree(LINT / "sample", tmp_path / "sample"))


def lint(root, *names):
    return run(root / "specs", root / "fixtures", names)


def plant(root, edit):
    """Make one edit as `mistakes.yaml` describes them."""
    path = root / edit["file"]
    if "latin" in edit:
        path.write_text(edit["latin"], encoding="latin-1")
    elif "moved to" in edit:
        path.rename(root / edit["moved to"])
    elif "cut" in edit:
        path.write_bytes(path.read_bytes()[: -edit["cut"]])
    elif "old" in edit:
        text = path.read_text(encoding="utf-8")
        assert text.count(edit["old"]) == 1, f"{edit['old']!r} stands {text.count(edit['old'])} times in {edit['file']}"
        path.write_text(text.replace(edit["old"], edit["new"]), encoding="utf-8")
    elif "new" in edit:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(edit["new"], encoding="utf-8")
    else:
        path.unlink()


def expected_line(root, mistake):
    """Return the number of the line on which the finding must be."""
    marker = mistake.get("line", mistake.get("new", "").split("\n")[0])
    if isinstance(marker, int):
        return marker
    text = (root / mistake.get("found in", mistake["file"])).read_text(encoding="utf-8")
    assert marker, "the mistake must say on which line it is found"
    assert marker in text, f"{marker!r} does not stand in the file"
    return text[: text.index(marker)].count("\n") + 1 - mistake.get("above", 0)


def told(findings):
    return "\n".join(map(str, findings))


@pytest.mark.parametrize("name", MISTAKES)
def test_planted_mistake_is_found_at_its_line(sample, name):
    """One mistake in a clean contract gives its finding, in the file and on the line to be mended, and no other."""
    mistake = MISTAKES[name]
    plant(sample, mistake)
    if "and" in mistake:
        plant(sample, mistake["and"])
    findings = lint(sample)
    place = sample / mistake.get("found in", mistake["file"])
    hits = [finding for finding in findings if mistake["says"] in str(finding) and finding.path == place]
    assert hits, told(findings)
    assert [finding.line for finding in hits] == [expected_line(sample, mistake)], told(findings)
    assert len(findings) == 1 + mistake.get("also", 0), told(findings)


def test_clean_sample_has_no_findings(sample):
    """Without a mistake nothing is found, so that each finding of the other tests is that of its mistake."""
    assert told(lint(sample)) == ""


@pytest.mark.parametrize("name", ["cybertron", "dify-workflow", "dify-chat", "agentbuilder"])
def test_packaged_contract_has_no_findings_when_one_api_is_checked(name):
    """Each API can be checked alone, and our own contract is clean."""
    assert told(run(paths.find_specs_root(), paths.find_fixtures_root(), [name])) == ""


def test_packaged_contract_has_no_findings():
    """The whole contract that comes with the package is clean, with its scenarios and profiles."""
    assert told(run(paths.find_specs_root(), paths.find_fixtures_root())) == ""


def test_every_mistake_has_a_name_of_its_own():
    """No mistake is lost because another one has its name, and there are more than forty."""
    assert len(MISTAKES) == len(yamlio.load(LINT / "mistakes.yaml"))
    assert len(MISTAKES) > 40


@pytest.mark.parametrize(
    "path", [path.relative_to(LINT / "sample") for path in (LINT / "sample").rglob("*.yaml")], ids=str
)
@pytest.mark.parametrize("content", ["", "[text, 3]", "paths: {/a: {get: [1]}}", "x: &a [*a]"])
def test_malformed_file_gives_findings_and_no_exception(sample, path, content):
    """Whatever stands in a file of the contract, the checks go on, and a file that is wrong is told."""
    (sample / path).write_text(content, encoding="utf-8")
    findings = lint(sample)
    assert findings
    assert all(isinstance(finding, Finding) and finding.line >= 1 for finding in findings)


def test_finding_is_one_line_with_file_line_mistake_and_advice(tmp_path, monkeypatch):
    """A finding reads `file:line: what is wrong. What to do.`, the file as seen from the current folder."""
    monkeypatch.chdir(tmp_path)
    finding = Finding(tmp_path / "specs" / "a.yaml", 12, "a thing\nis wrong", "Mend it.")
    assert str(finding) == "specs/a.yaml:12: a thing is wrong. Mend it."


def test_every_finding_says_what_to_do(sample):
    """All findings of many mistakes at once are complete lines: place, mistake, advice."""
    for mistake in MISTAKES.values():
        if "old" in mistake and mistake["old"] in (text := (sample / mistake["file"]).read_text(encoding="utf-8")):
            (sample / mistake["file"]).write_text(text.replace(mistake["old"], mistake["new"], 1), encoding="utf-8")
    findings = lint(sample)
    assert findings
    for finding in findings:
        assert re.fullmatch(r"\S+\.(yaml|wav|txt):[1-9]\d*: .+[.!?] \S.+[.!?]", str(finding)), str(finding)


def test_users_own_folder_is_checked_without_coverage(sample):
    """A user's folder of scenarios is judged by the contract, but need not show everything or be named after codes."""
    own = sample / "own" / "mini" / "getItem"
    own.mkdir(parents=True)
    (own / "200-mine.yaml").write_text("description: Mine.\nreply:\n  body: {id: a, size: big}\n", encoding="utf-8")
    reply = "body: {code: not_found, message: not mine}"
    (own / "404-not-mine.yaml").write_text(f"description: Not mine.\nreply:\n  {reply}\n", encoding="utf-8")
    findings = check_folder(sample / "own", specs=sample / "specs")
    assert [(finding.path.name, finding.line) for finding in findings] == [("200-mine.yaml", 3)]


def test_command_prints_findings_and_exits_with_one(sample, capsys):
    """The command prints each finding and how many there are, and its exit code says that there are some."""
    plant(sample, MISTAKES["a closed object"])
    code = main(["--specs", str(sample / "specs"), "--fixtures", str(sample / "fixtures")])
    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert "Item.yaml:4: " in lines[0]
    assert lines[-1] == "1 API checked: 1 finding in 1 file."


def test_command_exits_with_zero_when_all_is_well(sample, capsys):
    """A clean contract ends with exit code 0, and progress is plain lines where there is no terminal."""
    code = main(["--specs", str(sample / "specs"), "--fixtures", str(sample / "fixtures"), "--api", "mini"])
    printed = capsys.readouterr()
    assert code == 0
    assert printed.out == "1 API checked: 0 findings.\n"
    assert "checking mini: schemas\n" in printed.err
    assert "\r" not in printed.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--specs", "nowhere"], 'No folder "nowhere"'), (["--api", "dify-chatt"], 'Did you mean "dify-chat"?')],
    ids=["missing-folder", "unknown-api"],
)
def test_misuse_exits_with_two(arguments, says, capsys):
    """What cannot be checked at all is misuse: exit code 2, and a sentence that says what there is."""
    assert main(arguments) == 2
    assert says in capsys.readouterr().err
