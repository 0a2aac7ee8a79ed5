"""How the mock is set up: pace, seed, limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowcontract import paths, yamlio
from mockserver.state.quotas import Limits

if TYPE_CHECKING:
    from pathlib import Path

    from mockserver.state.worlds import Seeds

_MB = 1 << 20


@dataclass(frozen=True)
class Settings:
    """What does not change while the mock runs.

    ``pace``        what every delay is multiplied by; 0 sends everything at once
    ``seed``        ids and invented values depend on it
    ``max_upload``  bytes of a request's body
    ``journal``     how many exchanges are remembered
    ``admin_token`` what opens `/__mock__` from everywhere; without one it answers this machine only
    ``flows``       ids of flows that exist beside the printed ones
    ``state``       the file that keeps the worlds, or the address of Redis (`redis://host:port/0`), where other mocks
                    may share them; without one they are gone when the program ends
    ``clock``       when the clock begins that goes on by a second with each request of a world, in epoch seconds;
                    without it the clock is that of the machine
    ``limits``      how many worlds, records and bytes are kept
    ``fixtures``    where `<api>/world.yaml` is
    ``app``         a file that says what the apps are, where they are not the default ones
    ``ui``          whether there is a page for browsers
    ``answers``     what questions are answered with, where that is not what the app says
    """

    pace: float = 1.0
    seed: int = 0
    max_upload: int = 1024 * _MB
    flows: tuple[str, ...] = ()
    journal: int = 1000
    admin_token: str = field(default="", repr=False)
    state: Path | str | None = field(default=None, repr=False)
    clock: float | None = None
    limits: Limits = field(default_factory=Limits)
    fixtures: Path = field(default_factory=paths.find_fixtures_root)
    app: Path | None = None
    answers: str = ""
    ui: bool = True

    def build_seeds(self, api: str) -> Seeds:
        """Return what a world of an API begins with."""
        path = self.fixtures / api / "world.yaml"
        seeds = yamlio.load(path) if path.is_file() else {}
        for record in (record for records in seeds.values() for record in records if "bytes" in record):
            record["bytes"] = path.parent / record["bytes"]
        if "flows" in seeds:
            seeds["flows"] = [*seeds["flows"], *({"id": flow} for flow in self.flows)]
        return seeds
