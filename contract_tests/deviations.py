"""Known differences of a server: each has a stable id and a reason, is reported, and fails only when it is gone."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from contract_tests.judgement import cause
from contract_tests.target import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from flowcontract.violations import Violation

_HEAD = """\
# Known differences between a server and the contract. An `id` is a test and the cause of the difference, with * for any
# text. Each is reported and fails nothing; one that no longer occurs fails the run. Write a reason for each.
"""
_NO_REASON = "accepted without a reason"
_MADE_UP = "/fuzzed"


@dataclass(frozen=True, slots=True)
class Deviation:
    """One known difference."""

    id: str
    reason: str

    @property
    def test(self) -> str:
        """The part of the id that names the test."""
        return self.id.partition("#")[0]


def deviation_id(test: str, operation: str, violation: Violation) -> str:
    """Return the id of a difference: it stays the same while the test and the cause do.

    What a fuzzing phase found is named by the operation instead: the next run may see it in another phase.
    """
    return f"{operation + _MADE_UP if test.startswith('fuzzing/') else test}#{cause(violation)}"


class Deviations:
    """The known differences of one server, and which of them occurred."""

    def __init__(self, entries: Iterable[Deviation] = (), path: Path | None = None, *, accept: bool = False) -> None:
        """Keep the entries of a file."""
        self.entries = tuple(entries)
        self.path = path
        self.accept = accept
        self.occurred: set[str] = set()

    @classmethod
    def load(cls, path: Path | None, *, accept: bool = False) -> Deviations:
        """Read a deviations file; with `accept` it need not exist. Raises TargetError naming the file and the fault."""
        if path is None:
            if accept:
                raise TargetError("--accept writes into the file of --deviations. Give --deviations FILE.")
            return cls()
        if accept and not path.exists():
            return cls((), path, accept=True)
        try:
            entries = tomllib.loads(path.read_text(encoding="utf-8")).get("deviation", [])
            known = [Deviation(one["id"], one["reason"]) for one in entries]
        except OSError as error:
            raise TargetError(f"{path}: cannot be read: {error.strerror}. --accept writes a new one.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, AttributeError, TypeError, KeyError) as error:
            raise TargetError(f"{path}: expected [[deviation]] tables with `id` and `reason`: {error}.") from None
        return cls(known, path, accept=accept)

    def known(self, found: str) -> Deviation | None:
        """Return the entry for a difference that was found."""
        return next((one for one in self.entries if one.id == found or fnmatchcase(found, one.id)), None)

    def gone(self, tests: Iterable[str], *, everything: bool) -> list[Deviation]:
        """Return the entries that did not occur although their tests ran, or, where everything ran, exist no more.

        How far fuzzing gets depends on the server's speed: what it did not see again need not be gone.
        """
        ran = set(tests)
        missing = [one for one in self.entries if one.id not in self.occurred and not one.test.endswith(_MADE_UP)]
        return [one for one in missing if everything or any(fnmatchcase(test, one.test) for test in ran)]

    def write(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the file anew: what occurred, with the reasons that were there; `found` is by id, as in the reports."""
        assert self.path is not None
        kept = [one for one in self.entries if one.id in self.occurred or one.test.endswith(_MADE_UP)]
        new = [
            Deviation(name, _NO_REASON) for name in sorted(found) if not any(fnmatchcase(name, one.id) for one in kept)
        ]
        blocks = [_HEAD]
        for one in [*kept, *new]:
            failure = found.get(one.id)
            remark = (
                " ".join(f"# expected {failure['expected']}; got {failure['got']}".split())[:300] if failure else ""
            )
            lines = [
                "[[deviation]]",
                *([remark] if remark else []),
                f"id = {_text(one.id)}",
                f"reason = {_text(one.reason)}",
            ]
            blocks.append("\n".join(lines) + "\n")
        self.path.write_text("\n".join(blocks), encoding="utf-8")


def _text(value: str) -> str:
    """Return a TOML basic string; JSON's escapes are a subset of TOML's."""
    return json.dumps(value, ensure_ascii=False)
