"""Compare two contracts of an API: what of the difference breaks clients, and what breaks servers."""

from flowcontract.diff.change import Change, Level
from flowcontract.diff.contracts import compare_apis

__all__ = ["Change", "Level", "compare_apis"]
