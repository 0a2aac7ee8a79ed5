"""How the mock is set up: pace, seed, limits, and what its apps are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flowcontract import data, yamlio
from flowcontract.errors import SpecError
from mockserver.limits import Limits

if TYPE_CHECKING:
    from mockserver.worlds import Seeds

Apps = Mapping[str, Mapping[str, Mapping[str, str]]]
"""API -> what follows the API's key -> operation -> `<status>-<name>` of the scenario that answers by default."""
_APPS = Path(__file__).with_name("apps.yaml")
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
    ``limits``      how many worlds, records and bytes are kept
    ``fixtures``    where `<api>/world.yaml` is
    """

    pace: float = 1.0
    seed: int = 0
    max_upload: int = 1024 * _MB
    flows: tuple[str, ...] = ()
    journal: int = 1000
    admin_token: str = field(default="", repr=False)
    limits: Limits = field(default_factory=Limits)
    fixtures: Path = field(default_factory=data.fixtures_root)
    apps: Apps = field(default_factory=lambda: load_apps(_APPS))

    def app(self, api: str, suffix: str) -> Mapping[str, str]:
        """Return which scenarios answer by default, by operation, in the app that a key's suffix belongs to."""
        apps = self.apps.get(api, {})
        fitting = [name for name in apps if suffix == name or suffix.startswith(f"{name}-")]
        return apps[max(fitting, key=len)] if fitting else {}

    def seeds(self, api: str) -> Seeds:
        """Return what a world of an API begins with."""
        path = self.fixtures / api / "world.yaml"
        seeds = yamlio.load(path) if path.is_file() else {}
        for record in (record for records in seeds.values() for record in records if "bytes" in record):
            record["bytes"] = path.parent / record["bytes"]
        if "flows" in seeds:
            seeds["flows"] = [*seeds["flows"], *({"id": flow} for flow in self.flows)]
        return seeds


def load_apps(path: Path) -> Apps:
    """Read a file of apps; raise SpecError."""
    apps = yamlio.load(path)
    if not isinstance(apps, dict) or not all(isinstance(one, dict) for one in apps.values()):
        raise SpecError(f"{path}: a mapping of API, key's suffix, operation and scenario is wanted.")
    return apps
