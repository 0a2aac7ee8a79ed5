"""Which keys open an API of the mock, and which world a key opens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from flowcontract.validation.refusals import list_wrong_key_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from flowcontract.specs.model import Api, SecurityScheme


@dataclass(frozen=True, slots=True)
class Keyring:
    """What a request says about who sends it, for one API.

    ``verdict``  `valid`, `missing` (no credentials, or not all that are needed), or `wrong`
    ``suffix``   what follows the mock's key: `-a` of `app-chat-a`; it names the world
    ``scheme``   the scheme whose value is missing or wrong
    ``strange``  whether the header names another scheme in its place: `Basic` for `Bearer`
    """

    verdict: Literal["valid", "missing", "wrong"]
    suffix: str = ""
    scheme: SecurityScheme | None = None
    strange: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """The words of `x-refusals` for a refusal, the most particular first."""
        if self.verdict == "missing":
            return ("wrong-scheme", "no-key") if self.strange else ("no-key",)
        return list_wrong_key_words(self.scheme)


_LONGEST = 200  # characters of a key, which names a world
NOBODYS = "?"
"""What the world is named by that answers wrong keys; a key's own suffix begins with a hyphen."""
VALID_WITHOUT_KEY = Keyring("valid")


def check(
    api: Api,
    security: Sequence[Sequence[str]],
    headers: Mapping[str, str],
    query: Mapping[str, Sequence[str]],
    order: Sequence[str] = (),
) -> Keyring:
    """Judge a request's credentials by the alternatives of `security`; the first that is satisfied counts.

    With an `order` of schemes the first of them that was sent counts, whatever else came; an empty one was not sent.
    Where an alternative demands nothing, only a valid key tells something: which world it opens.
    """
    alternatives = [[api.schemes[name] for name in names] for names in security if names]
    judged = [_check_together(schemes, headers, query) for schemes in alternatives]
    found = min(judged, key=lambda ring: ("valid", "wrong", "missing").index(ring.verdict), default=VALID_WITHOUT_KEY)
    if order and judged:
        named = [name for name in order if (name,) in [tuple(names) for names in security]]
        first = next((api.schemes[name] for name in named if _find_sent(api.schemes[name], headers, query)), None)
        found = _check_together([first], headers, query) if first else Keyring("missing")
    is_optional = len(alternatives) < len(security)
    return VALID_WITHOUT_KEY if is_optional and found.verdict != "valid" else found


def _check_together(
    schemes: Iterable[SecurityScheme], headers: Mapping[str, str], query: Mapping[str, Sequence[str]]
) -> Keyring:
    """Judge schemes that are needed together: each value is a key of ours; its suffix is the first one's, or none."""
    world: str | None = None
    for scheme in schemes:
        sent = _find_sent(scheme, headers, query)
        if sent is None:
            strange = " " in headers.get(scheme.parameter.lower(), "").strip() and bool(scheme.prefix)
            return Keyring("missing", scheme=scheme, strange=strange)
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


def _find_sent(scheme: SecurityScheme, headers: Mapping[str, str], query: Mapping[str, Sequence[str]]) -> str | None:
    """Return the key that was sent; None where there is none: a header that names no or another scheme has none."""
    if scheme.location == "query":
        return next(iter(query.get(scheme.parameter, ())), None)
    value = headers.get(scheme.parameter.lower())
    if value is None or not scheme.prefix:
        return value
    kind, blank, key = value.strip().partition(" ")
    return key.strip() if blank and kind.lower() == scheme.prefix.strip().lower() else None
