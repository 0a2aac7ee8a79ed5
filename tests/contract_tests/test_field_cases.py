"""What people hand to `contract-tests judge` is judged, or called by its name (tests/data/field-cases)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contract_tests.cli.main import main
from flowcontract import yamlio

DATA = Path(__file__).parent.parent / "data" / "field-cases"
CASES = yamlio.load(DATA / "judged.yaml")


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_recording_of_the_field_is_judged_or_called_by_its_name(
    case: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """How the command ends, and the words that tell what it was given."""
    code = main(["judge", *case.get("arguments", []), str(DATA / case["file"])])
    printed = "".join(capsys.readouterr())
    assert code == case.get("exit", code), printed
    assert case["says"] in printed
