"""What is kept between two starts, and that a change of a file takes effect at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from flowcontract import paths
from flowcontract.specs import model as specs
from flowcontract.specs.cache import VARIABLE, FolderCache

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep things in a folder of the test's own."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with one file below it."""
    (tmp_path / "specs" / "deep").mkdir(parents=True)
    (tmp_path / "specs" / "deep" / "a.yaml").write_text("a: 1")
    return tmp_path / "specs"


def count_from(number: int) -> Any:
    numbers = iter(range(number, number + 10))
    return lambda: {"count": next(numbers)}


def test_value_is_worked_out_once(place: Path, folder: Path) -> None:
    """While no file changes, what was kept is returned."""
    work_out = count_from(0)
    assert [FolderCache(folder).load_or_compute("a", work_out) for _ in range(3)] == [{"count": 0}] * 3
    assert FolderCache(folder).load_or_compute("b", work_out) == {"count": 1}
    assert len(list(place.iterdir())) == 2


@pytest.mark.parametrize("change", ["written", "added", "removed", "touched"])
def test_any_change_of_a_file_takes_effect_at_once(place: Path, folder: Path, change: str) -> None:
    """Another content, name or time of any file below the folder makes it worked out again."""
    work_out, file = count_from(0), folder / "deep" / "a.yaml"
    FolderCache(folder).load_or_compute("a", work_out)
    if change == "written":
        file.write_text("a: 22")
    elif change == "added":
        (folder / "b.yaml").write_text("b: 1")
    elif change == "removed":
        file.unlink()
    else:
        os.utime(file, ns=(1, 1))
    assert FolderCache(folder).load_or_compute("a", work_out) == {"count": 1}
    assert len(list(place.iterdir())) == 1


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"stamp": 1}', b"\xff"])
def test_broken_file_is_worked_out_again(place: Path, folder: Path, broken: bytes) -> None:
    """Whatever stands in the kept file, the value is right."""
    FolderCache(folder).load_or_compute("a", count_from(0))
    next(place.iterdir()).write_bytes(broken)
    assert FolderCache(folder).load_or_compute("a", count_from(5)) == {"count": 5}


def test_file_that_is_deleted_meanwhile_is_no_error(place: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between listing a folder and looking at its files another program may rename one."""
    real, stamp = os.stat, FolderCache(folder)._stamp

    def vanish(path: Any, **options: Any) -> os.stat_result:
        if str(path).endswith("a.yaml"):
            raise FileNotFoundError(path)
        return real(path, **options)

    monkeypatch.setattr(os, "stat", vanish)
    assert FolderCache(folder)._stamp != stamp


def test_nothing_is_kept_where_nothing_can_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable switches it off, and a folder that cannot be made is no mistake."""
    for chosen in ("", str(folder / "deep" / "a.yaml" / "below-a-file")):
        monkeypatch.setenv(VARIABLE, chosen)
        work_out = count_from(0)
        assert [FolderCache(folder).load_or_compute("a", work_out) for _ in range(2)] == [{"count": 0}, {"count": 1}]


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("name", specs.list_apis())
def test_kept_contract_is_the_contract(name: str) -> None:
    """Read from its files and read from what was kept, an API is the same."""
    fresh, kept = specs.load_api(name), specs.load_api(name)
    assert fresh.bundle == kept.bundle == specs.load_bundle(paths.find_specs_root() / name).document
    assert fresh.rulings == kept.rulings
