"""Which contracts a comparison is of: `dify-chat=1.14`, a folder of specs, or a git revision."""

from __future__ import annotations

import difflib
import io
import subprocess
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flowcontract.errors import SpecError, UnknownNameError
from flowcontract.specs.model import list_apis, load_apis

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowcontract.specs.model import Api

_GIT_S = 60  # how long git may take


@contextmanager
def open_side(text: str, names: Sequence[str] = ()) -> Iterator[dict[str, Api]]:
    """Yield the contracts that a text names, by API: `API`, `API=PROFILE`, a folder, or a git revision.

    `names` restricts a folder or a revision to some APIs. Raises SpecError or UnknownNameError for anything else, also
    for an API that is not among the names.
    """
    name, _, profile = text.partition("=")
    if name in list_apis():
        if names and name not in names:
            raise SpecError(f"{text} is no contract of {' or '.join(names)}. Leave out --api, or say --api {name}.")
        yield load_apis([name], profiles={name: profile} if profile else {})
    elif profile:
        raise UnknownNameError("API", name, list_apis())
    elif Path(text).is_dir():
        yield _load_folder(Path(text), names)
    else:
        with tempfile.TemporaryDirectory() as folder:
            _extract_revision(text, Path(folder))
            yield _load_folder(Path(folder) / "specs", names)


def _load_folder(folder: Path, names: Sequence[str]) -> dict[str, Api]:
    """Read the APIs of a folder of specs, or the one API whose folder it is."""
    folder = folder.resolve()
    if (folder / "openapi.yaml").is_file():
        return load_apis([folder.name], root=folder.parent)
    if not list_apis(folder):
        raise SpecError(f'"{folder}" has no folder with an openapi.yaml. Name the folder of a contract, or of all.')
    return load_apis(list(names), root=folder)


def _extract_revision(revision: str, folder: Path) -> None:
    """Put `specs/` as it was at a git revision into a folder."""
    command = ["git", "archive", "--format=zip", "--end-of-options", revision, "specs"]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_GIT_S)  # noqa: S603 - git's own words
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _build_side_error(revision, str(error)) from None
    if done.returncode:
        raise _build_side_error(revision, done.stderr.decode(errors="replace").strip().splitlines()[0])
    with zipfile.ZipFile(io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder)  # which keeps to the folder and makes no links, under every Python


def _build_side_error(text: str, why: str) -> SpecError:
    known = list_apis()
    close = difflib.get_close_matches(text, known, n=1)
    guess = f' Did you mean "{close[0]}"?' if close else ""
    return SpecError(
        f'"{text}" is no API, folder or git revision of a repository with specs/ ({why}). '
        f"Write API or API=PROFILE, a folder or a revision. The APIs are: {', '.join(known)}.{guess}"
    )
