"""Checks the contract and its scenarios: `python -m flowcontract.lint`. One module per kind of check yields findings.

>>> from flowcontract import data
>>> from flowcontract.lint import run
>>> run(paths.specs_root(), paths.fixtures_root())
()
"""

from __future__ import annotations

from flowcontract.lint.findings import Finding
from flowcontract.lint.run import run

__all__ = ["Finding", "run"]
