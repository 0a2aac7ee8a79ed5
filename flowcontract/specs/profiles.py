"""Profiles: real releases of a server, each an Overlay over the contract with what the mock answers by default.

specs/<api>/profiles/NAME.yaml            OpenAPI Overlay 1.0; its `x-profile` says what an overlay cannot:
  x-profile:
    release: Dify 1.14.2                  the server that was observed, as people name it
    builds_on?: NAME                      the profile whose actions come first, and whose defaults hold
    defaults?: {OPERATION: STATUS-NAME}   the scenario that answers an operation when nothing is chosen
fixtures/<api>/profiles/NAME/<operationId>/<status>-<name>.yaml   scenarios that add to ours or replace them
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from flowcontract import yamlio
from flowcontract.errors import SpecError, UnknownNameError
from flowcontract.sorting import build_natural_key
from flowcontract.specs import overlay

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FIELDS = frozenset({"release", "builds_on", "defaults"})


@dataclass(frozen=True, slots=True)
class Profile:
    """One release of a server.

    ``name``      as in its file: `1.14`
    ``release``   as people name it: `Dify 1.14.2`
    ``chain``     the profiles whose actions and scenarios count, the first one first, itself last
    ``defaults``  operation -> the `<status>-<name>` that answers when nothing is chosen, those of the chain included
    """

    name: str
    release: str
    chain: tuple[str, ...]
    defaults: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON; `from_json` reads it."""
        names = ("name", "release", "chain")
        return {**{name: getattr(self, name) for name in names}, "defaults": dict(self.defaults)}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Profile:
        """Return what `as_json` gave."""
        return cls(said["name"], said["release"], tuple(said["chain"]), MappingProxyType(said["defaults"]))


def list_profiles(folder: Path) -> tuple[str, ...]:
    """Return the names of the profiles of an API, older releases first; `folder` is the API's below the specs."""
    return tuple(sorted((path.stem for path in (folder / "profiles").glob("*.yaml")), key=build_natural_key))


def load_profile(folder: Path, name: str) -> Profile:
    """Read what a profile says of itself; raise UnknownNameError or SpecError."""
    chain: list[str] = []
    defaults: dict[str, str] = {}
    release, following = "", name
    while following:
        if following in chain:
            raise SpecError(f"{_find_file(folder, name)}: it builds on itself: {' -> '.join([*chain, following])}.")
        said = _read_x_profile(folder, following)
        chain.append(following)
        defaults = {**said.get("defaults", {}), **defaults}
        release = release or said.get("release", "")
        following = said.get("builds_on", "")
    return Profile(name, release or name, tuple(reversed(chain)), MappingProxyType(defaults))


def apply_profile(document: dict[str, Any], folder: Path, profile: Profile) -> dict[str, Any]:
    """Return a bundle as changed by the overlays of a profile's chain; raise SpecError."""
    for name in profile.chain:
        path = _find_file(folder, name)
        document = overlay.apply(document, yamlio.load(path), name=str(path))
    return document


def _find_file(folder: Path, name: str) -> Path:
    return folder / "profiles" / f"{name}.yaml"


def _read_x_profile(folder: Path, name: str) -> Mapping[str, Any]:
    known = list_profiles(folder)
    if name not in known:
        raise UnknownNameError(f"profile of {folder.name}", name, known)
    whole = yamlio.load(_find_file(folder, name))
    said = whole.get("x-profile", {}) if isinstance(whole, dict) else {}
    if not isinstance(said, dict) or set(said) - _FIELDS:
        raise SpecError(
            f"{_find_file(folder, name)}: x-profile has to be a mapping with the fields {', '.join(sorted(_FIELDS))}."
        )
    texts = all(isinstance(said.get(key, ""), str) for key in ("release", "builds_on"))
    defaults = said.get("defaults", {})
    if not texts or not isinstance(defaults, dict) or not all(isinstance(value, str) for value in defaults.values()):
        raise SpecError(
            f"{_find_file(folder, name)}: in x-profile, release and builds_on have to be texts, "
            "and defaults has to map operations to <status>-<name>."
        )
    return said
