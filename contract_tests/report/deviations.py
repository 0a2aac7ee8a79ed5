"""Known differences of a server: each has a stable id and a reason, and is reported but does not fail the run."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from contract_tests.http.target import TargetError
from contract_tests.judging.causes import describe_cause, escape_unprintable
from contract_tests.judging.judge import describe_former_cause
from contract_tests.report.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from flowcontract.schemas.violations import Violation

_HEAD = """\
# Known differences between a server and the contract, one entry for each cause: operation, rule, place, what came.
# They are reported and fail nothing. Write a `reason` for each; `expires = 2030-12-31` is the last day on which one is
# accepted. In an `id`, * stands for any text. `contract-tests --accept` adds new ones, `--prune` removes what is gone.
"""
_FIELDS = ("id", "reason", "expires")
_MADE_UP = "/fuzzed"
_REMARK = 300  # characters of a comment
_LONGEST_FORMER = 1000  # characters of a former id
_ITEM = re.compile(r"(?<=/)\*(?=[/ ]|$)")  # a `*` of ours: any item of a list


class Names(NamedTuple):
    """The ids of a difference: that of its cause, and the id that earlier versions wrote."""

    id: str
    former: str


def name_difference(test: str, operation: str, violation: Violation) -> Names:
    """Return the ids of a difference in a test; those found by fuzzing have ids of their own."""
    fuzzed = test.startswith("fuzzing/")
    about = operation + _MADE_UP if fuzzed else operation
    former = f"{about if fuzzed else test}#{describe_former_cause(violation)}"
    return Names(
        escape_unprintable(f"{about}#{describe_cause(violation)}"), escape_unprintable(former[:_LONGEST_FORMER])
    )


@dataclass(frozen=True, slots=True)
class Deviation:
    """A known difference. ``expires`` is the last day on which it is accepted; None: no limit."""

    id: str
    reason: str
    expires: date | None = None

    @property
    def about(self) -> str:
        """The part of the id that names the operation."""
        return self.id.partition("#")[0]

    @property
    def made_up(self) -> bool:
        """Whether fuzzing found it."""
        return self.about.endswith(_MADE_UP)


class Deviations:
    """The known differences of a server, and which of them occurred."""

    def __init__(
        self,
        entries: Iterable[Deviation] = (),
        path: Path | None = None,
        *,
        accept: bool = False,
        today: date | None = None,
    ) -> None:
        """Index the entries of a file. `today` is by default the current day in UTC."""
        self.entries = tuple(entries)
        self.path = path
        self.accept = accept
        self.today = today or datetime.now(UTC).date()
        self.occurred: set[str] = set()
        self._by_id = {entry.id: entry for entry in reversed(self.entries)}
        patterns = ((entry, _compile_pattern(entry.id)) for entry in self.entries)
        self._patterns = [(entry, pattern) for entry, pattern in patterns if pattern]
        self._found: dict[Names, Deviation | None] = {}
        self._text = ""  # of the file, with what people wrote into it

    @classmethod
    def load(
        cls, path: Path | None, *, accept: bool = False, prune: bool = False, today: date | None = None
    ) -> Deviations:
        """Read a deviations file; with `accept` it need not exist. Raises TargetError with the file and the mistake."""
        if path is None:
            if accept or prune:
                option = "--accept" if accept else "--prune"
                raise TargetError(f"{option} writes into the file of --deviations. Give --deviations FILE.")
            return cls()
        if accept and not path.exists():
            return cls((), path, accept=True, today=today)
        try:
            text = path.read_text(encoding="utf-8")
            document = tomllib.loads(text)
        except OSError as error:
            raise TargetError(f"{path}: cannot be read: {error.strerror}. --accept writes a new one.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise TargetError(f"{path}: expected [[deviation]] tables with `id` and `reason`: {error}.") from None
        deviations = cls(_read_entries(document, path), path, accept=accept, today=today)
        deviations._text = text
        return deviations

    def find_entry(self, found: str, former: str = "") -> Deviation | None:
        """Return the entry for a difference, by its id or its former id; it may have expired."""
        names = Names(found, former)
        if names not in self._found:
            exact = self._by_id.get(found) or self._by_id.get(former)
            matching = (entry for entry, pattern in self._patterns if any(map(pattern.fullmatch, names)))
            self._found[names] = exact or next(matching, None)
        return self._found[names]

    def find_valid_entry(self, found: str, former: str = "") -> Deviation | None:
        """Return the entry that makes a difference a known one: it has not expired."""
        entry = self.find_entry(found, former)
        return None if entry is None or self.has_expired(entry) else entry

    def has_expired(self, entry: Deviation) -> bool:
        """Tell whether an entry has expired."""
        return entry.expires is not None and entry.expires < self.today

    def find_fixed(self, called: Iterable[str], *, fuzzed: bool) -> list[Deviation]:
        """Return the entries that did not occur although their operations were called.

        ``called``  names of the operations and tests of a complete run
        ``fuzzed``  whether fuzzing was as thorough as it can be
        """
        ran = set(called)
        missing = (entry for entry in self.entries if entry.id not in self.occurred)
        return [entry for entry in missing if (fuzzed or not entry.made_up) and _is_called(entry, ran)]

    def list_complaints(self) -> list[str]:
        """Return what should be corrected in the file: entries that have no reason or have expired."""
        unexplained = [entry for entry in self.entries if not entry.reason.strip()]
        expired = [entry for entry in self.entries if self.has_expired(entry)]
        return [
            *(
                f"{self.path}: {entry.id} was accepted until {entry.expires}: {entry.reason or 'no reason'}"
                for entry in expired
            ),
            *(f"{self.path}: write a reason for {entry.id}" for entry in unexplained),
        ]

    def write(self, found: Mapping[str, Mapping[str, Any]], *, obsolete: Iterable[Deviation] = ()) -> list[str]:
        """Write the file: its entries without the `obsolete` ones, and an entry for each cause that was `found`.

        Returns what has changed, a sentence each.

        ``found``  failures as in the reports, by id; `known` is the id of the entry that covers one
        Reasons are kept; those of entries with a former id move to the entries of their causes.
        """
        assert self.path is not None
        removed = {entry.id for entry in obsolete}
        kept = {
            entry.id: replace(entry, expires=None) if self.has_expired(entry) and entry.id in found else entry
            for entry in self.entries
            if entry.id not in removed
        }
        for name in sorted(found):
            olds = self._find_covering(name, found[name])
            if any(old.id == name or _compile_pattern(old.id) for old in olds):
                continue
            kept[name] = _merge(name, olds, kept.get(name))
            for old in olds:
                kept.pop(old.id, None)
        texts = _split_entries(self._text, self.entries)
        unchanged = set(self.entries)
        formatted = [
            (texts.get(entry.id) if entry in unchanged else None) or _format_entry(entry, found.get(entry.id))
            for entry in kept.values()
        ]
        text = "\n".join([texts.get("", _HEAD), *formatted])
        write_whole(self.path, [text])
        return self._tell_changes(kept, removed)

    def _tell_changes(self, kept: Iterable[str], removed: Collection[str]) -> list[str]:
        added = sum(name not in self._by_id for name in kept)
        accepted = (
            f"accepted: {added} new in {self.path}; write a reason for each" if added else "accepted: nothing new"
        )
        return [
            *([accepted] if self.accept else []),
            *([f"removed: {len(removed)} from {self.path}"] if removed else []),
        ]

    def _find_covering(self, name: str, failure: Mapping[str, Any]) -> list[Deviation]:
        """Return the entries that cover a cause, also by former ids."""
        entries = [self._by_id[old] for old in dict.fromkeys(failure.get("entries", ())) if old in self._by_id]
        now = self.find_entry(name)
        return entries or ([now] if now else [])


def _merge(name: str, olds: list[Deviation], there: Deviation | None) -> Deviation:
    """Return the entry of a cause, with the reasons of all entries that it replaces."""
    former = [there] if there else []
    reasons = dict.fromkeys(entry.reason for entry in [*former, *olds] if entry.reason)
    return Deviation(name, "\n".join(reasons))


def _split_entries(text: str, entries: tuple[Deviation, ...]) -> dict[str, str]:
    """Return the texts of the entries in a file by id, that before the first as ``""``; {} if they cannot be split."""
    head, *blocks = re.split(r"(?m)^(?=\[\[deviation\]\])", text)
    try:
        read = [list(_read_entries(tomllib.loads(block), Path())) for block in blocks]
    except (tomllib.TOMLDecodeError, TargetError):
        return {}
    if read != [[entry] for entry in entries]:
        return {}
    found = {entry.id: f"{block.rstrip()}\n" for entry, block in zip(entries, blocks, strict=True)}
    return found if head.startswith(_HEAD[:40]) or not head.strip() else {"": f"{head.rstrip()}\n", **found}


def _compile_pattern(name: str) -> re.Pattern[str] | None:
    """Return the pattern of an id with a `*` that stands for any text; None for other ids."""
    about, hash_, what = name.partition("#")
    literal = about + hash_ + _ITEM.sub("\0", what)
    if "*" not in literal:
        return None
    parts = (re.escape(part).replace("\0", r"\*") for part in literal.split("*"))
    return re.compile(".*".join(parts), re.DOTALL)


def _is_called(entry: Deviation, called: set[str]) -> bool:
    about = entry.about.removesuffix(_MADE_UP)
    if pattern := _compile_pattern(about):
        return any(map(pattern.fullmatch, called))
    operation = "/".join(about.split("/")[:2])
    return about in called or operation in called


def _read_entries(document: Mapping[str, Any], path: Path) -> Iterator[Deviation]:
    """Yield the entries of a file."""
    tables = document.get("deviation", [])
    if not isinstance(tables, list) or set(document) - {"deviation"}:
        raise TargetError(f"{path}: expected nothing but [[deviation]] tables.")
    for number, table in enumerate(tables, 1):
        yield _read_entry(table, f"{path}: deviation {number}")


def _read_entry(table: Any, place: str) -> Deviation:
    if not isinstance(table, dict) or not all(isinstance(table.get(name), str) for name in ("id", "reason")):
        raise TargetError(f"{place}: expected a table with the texts `id` and `reason`.")
    if unknown := set(table) - set(_FIELDS):
        raise TargetError(f"{place}: {', '.join(sorted(unknown))} is not one of {', '.join(_FIELDS)}.")
    return Deviation(table["id"], table["reason"], _read_day(table.get("expires"), place))


def _read_day(value: Any, place: str) -> date | None:
    if isinstance(value, datetime) or not isinstance(value, date | str | None):
        raise TargetError(f"{place}: `expires` is not a date. Write expires = 2030-12-31.")
    try:
        return date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise TargetError(
            f'{place}: `expires` is "{value}", which is not a date. Write expires = 2030-12-31.'
        ) from None


def _format_entry(entry: Deviation, failure: Mapping[str, Any] | None) -> str:
    remark = f"expected {failure['expected']}; got {failure['got']}" if failure else ""
    lines = [
        "[[deviation]]",
        *([f"# {escape_unprintable(' '.join(remark.split()))[:_REMARK]}"] if remark else []),
        f"id = {_quote(entry.id)}",
        f"reason = {_quote(entry.reason)}",
        *([f"expires = {entry.expires}"] if entry.expires else []),
    ]
    return "\n".join(lines) + "\n"


def _quote(value: str) -> str:
    """Return a TOML basic string. Unpaired surrogates, which UTF-8 cannot encode, are escaped."""
    return '"' + "".join(map(_escape, value)) + '"'


def _escape(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:  # noqa: PLR2004 - Unicode's own range
        return f"\\\\u{code:04x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - TOML's own limit
