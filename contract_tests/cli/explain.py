"""`contract-tests explain ID`: prints everything that a report has on a cause."""

from __future__ import annotations

import argparse
import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract_tests.report import terminal
from contract_tests.report.last_run import LAST_RUN
from flowcontract.errors import FlowContractError
from flowcontract.output.printable import make_printable
from flowcontract.specs.cache import VARIABLE, find_cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TESTS = 200  # of a cause that are listed
_EPILOG = """\
examples:
  contract-tests explain                            all causes of the last run
  contract-tests explain 3f9a2c1                    one of them, by the short name that the summary has
  contract-tests explain 'dify-chat/getInfo#status 500' --report out
"""


class ExplainError(FlowContractError):
    """There is no report to explain anything from."""


def add_parser(commands: Any) -> None:
    """Add the command to the others."""
    command = commands.add_parser(
        "explain",
        help="explain one cause of a run",
        description="Explain one cause: what was expected and came, what the documents print, all tests, a curl.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("cause", nargs="?", metavar="ID", help="its short name, or its id (default: list all)")
    command.add_argument("--report", type=Path, metavar="DIR", help="the run's reports (default: the last run)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> bool:
    """Print a cause, or all; raise FlowContractError where there is none. Never reports violations."""
    document = _read_report(arguments.report)
    try:
        lines = [*(_explain(document, arguments.cause) if arguments.cause else _list_causes(document))]
    except (KeyError, TypeError, AttributeError):
        raise ExplainError("The report is of another version of contract-tests. Run it again.") from None
    print("\n".join(make_printable(line, lines=True) for line in lines))
    return False


def _read_report(path: Path | None) -> dict[str, Any]:
    if path is None:
        folder = find_cache_folder()
        if folder is None or not (folder / LAST_RUN).is_file():
            raise ExplainError(f"There is no last run in the cache folder ({VARIABLE} sets it). Give --report DIR.")
        path = folder / LAST_RUN
    elif path.is_dir():
        path /= "report.json"
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ExplainError(f"{path} cannot be read: {error.strerror}. Give the folder of --report.") from None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or "causes" not in document:
        raise ExplainError(f"{path} is not a report.json of contract-tests. Give the folder of --report.")
    return document


def _list_causes(document: Mapping[str, Any]) -> Iterator[str]:
    yield terminal.format_headline(dict(document))
    where = ", ".join(f"{api} at {url}" for api, url in document["target"].items())
    yield f"begun {document['about']['started']}: {where}"
    for cause in document["causes"]:
        tests = terminal.count_noun(len(cause["tests"]), "test")
        yield f"{cause['handle']}  {cause['kind']:9} {cause['id']} ({tests})"


def _explain(document: Mapping[str, Any], name: str) -> Iterator[str]:
    causes = {cause["id"]: cause for cause in document["causes"]}
    found = [cause for cause in causes.values() if cause["id"] == name or cause["handle"].startswith(name)]
    found = found or [cause for cause in causes.values() if cause["id"].startswith(f"{name}#")]
    found = found or [cause for cause in causes.values() if name in cause["id"]]
    if not found:
        close = difflib.get_close_matches(name, causes, n=1)
        guess = f' Did you mean "{close[0]}"?' if close else ""
        number = terminal.count_noun(len(causes), "cause")
        raise ExplainError(f'No cause "{name}" among {number}.{guess} contract-tests explain lists them.')
    if len(found) > 1:
        yield f'"{name}" fits {len(found)} causes. Name one of them by its short name:'
        yield from (f"{cause['handle']}  {cause['id']}" for cause in found)
        return
    yield from _describe(found[0], document)


def _describe(cause: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    yield f"{cause['kind']} {cause['handle']}: {cause['id']}"
    yield from (line.text for line in terminal.format_cause(cause))
    if cause["reason"]:
        yield f"  reason   {cause['reason']}"
    for quote in cause["quotes"]:
        yield ""
        yield f"{quote['title']}, {quote['source']}:"
        yield from (f"  | {line}" for line in quote["text"].splitlines())
    for ruling in cause["rulings"]:
        yield ""
        yield f"ruling {ruling['name']}: {ruling['decision']}"
        yield f"  because {ruling['why']}"
    yield ""
    yield f"seen in {terminal.count_noun(len(cause['tests']), 'test')}, {terminal.count_noun(cause['count'], 'time')}:"
    yield from _list_tests(cause["id"], document)
    if cause["curl"]:
        yield ""
        yield cause["curl"]


def _list_tests(name: str, document: Mapping[str, Any]) -> Iterator[str]:
    """Yield each test that found a cause, with what it expected and got."""
    failures = [
        failure for kind in ("failures", "notes", "deviating") for failure in document[kind] if failure["id"] == name
    ]
    for failure in failures[:_TESTS]:
        yield f"  {failure['test']}: expected {failure['expected']}; got {failure['got']}"
    if len(failures) > _TESTS:
        yield f"  ... and {len(failures) - _TESTS} more"
