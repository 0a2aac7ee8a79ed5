"""Single operations: the answers to documented requests, and to others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contract_tests.cases.case import Case
    from contract_tests.suite.session import Suite


def test_documented(suite: Suite, case: Case) -> None:
    """A request that a document prints is answered as documented."""
    suite.run(case)


def test_generated(suite: Suite, case: Case) -> None:
    """A request that the documents allow is answered as documented."""
    suite.run(case)


def test_invalid(suite: Suite, case: Case) -> None:
    """A request with one thing wrong is refused, and the refusal is a documented one."""
    suite.run(case)


def test_keys(suite: Suite, case: Case) -> None:
    """Every way to send a key is accepted, every wrong key is refused."""
    suite.run(case)


def test_unread(suite: Suite, case: Case) -> None:
    """A body that cannot be read is refused as documented."""
    suite.run(case)


def test_unknown(suite: Suite, case: Case) -> None:
    """An id that does not exist is answered as documented."""
    suite.run(case)


def test_undocumented(suite: Suite, case: Case) -> None:
    """A method or a path that no document names is refused, with the methods that there are."""
    suite.run(case)


def test_probes(suite: Suite, case: Case) -> None:
    """A request of `probes.yaml` is answered as stated there."""
    suite.run(case)


def test_provoked(suite: Suite, case: Case) -> None:
    """Every documented error that the target can be made to send is as documented."""
    suite.run(case)


def test_streams(suite: Suite, case: Case) -> None:
    """Every stream that the target can be made to send follows its contract."""
    suite.run(case)
