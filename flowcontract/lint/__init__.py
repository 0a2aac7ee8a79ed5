"""Checks the contract and its scenarios: `python -m flowcontract.lint`. Each module yields the findings of one check.

>>> from flowcontract import paths
>>> from flowcontract.lint import run
>>> run(paths.find_specs_root(), paths.find_fixtures_root())
()
"""

from __future__ import annotations

from flowcontract.lint.findings import Finding
from flowcontract.lint.run import run

__all__ = ["Finding", "run"]
