"""Which keys open an API of the mock, and which world a key opens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from flowcontract.validation.refusals import wrong_key_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from flowcontract.specs.model import Api, SecurityScheme


@dataclass(frozen=True, slots=True)
class Keyring:
    """What a request says about who sends it, for one API.

    ``verdict``  `valid`, `missing` (no credentials, or not all that are needed), or `wrong`
    ``suffix``   what follows the mock's key: `-a` of `app-chat-a`; it names the world
    ``scheme``   the scheme whose value is wrong
    """

    verdict: Literal["valid", "missing", "wrong"]
    suffix: str = ""
    scheme: SecurityScheme | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The words of `x-refusals` for a refusal, the most particular first."""
        if self.verdict == "missing":
            return ("no-key",)
        return wrong_key_words(self.scheme)


_LONGEST = 200  # characters of a key, which names a world
NOBODYS = "?"
"""What the world is named by that answers wrong keys; a key's own suffix begins with a hyphen."""
VALID_WITHOUT_KEY = Keyring("valid")


def check(
    api: Api, security: Sequence[Sequence[str]], headers: Mapping[str, str], query: Mapping[str, Sequence[str]]
) -> Keyring:
    """Judge a request's credentials by the alternatives of `security`; the first that is satisfied counts."""
    if not security or () in [tuple(alternative) for alternative in security]:
        return VALID_WITHOUT_KEY
    judged = [_check_together([api.schemes[name] for name in names], headers, query) for names in security]
    return min(judged, key=lambda ring: ("valid", "wrong", "missing").index(ring.verdict))


def _check_together(
    schemes: Iterable[SecurityScheme], headers: Mapping[str, str], query: Mapping[str, Sequence[str]]
) -> Keyring:
    """Judge schemes that are needed together: each value is a key of ours; its suffix is the first one's, or none."""
    world: str | None = None
    for scheme in schemes:
        sent = _sent(scheme, headers, query)
        if sent is None:
            return Keyring("missing", scheme=scheme)
        if not opens(scheme.mock_key, sent):
            return Keyring("wrong", scheme=scheme)
        suffix = sent.removeprefix(scheme.mock_key)
        world = suffix if world is None else world
        if suffix not in ("", world):
            return Keyring("wrong", scheme=scheme)
    return Keyring("valid", suffix=world or "")


def opens(mock_key: str, sent: str) -> bool:
    """Tell whether a key is the mock's own, or begins with it and a hyphen; one that is too long opens nothing."""
    return bool(mock_key) and (sent == mock_key or (sent.startswith(f"{mock_key}-") and len(sent) <= _LONGEST))


def _sent(scheme: SecurityScheme, headers: Mapping[str, str], query: Mapping[str, Sequence[str]]) -> str | None:
    if scheme.location == "query":
        return next(iter(query.get(scheme.parameter, ())), None)
    value = headers.get(scheme.parameter.lower())
    if value is None or not scheme.prefix:
        return value
    kind, _, key = value.partition(" ")
    return key.strip() if kind.lower() == scheme.prefix.strip().lower() else ""
