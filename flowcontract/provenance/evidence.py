"""The evidence for a demand: its tier, the rulings that it cites, and the printed lines.

The provenance of a part of the contract is a tuple of texts (see `sources.provenance`): `001:25-58` is lines of a
document, `ruling NAME` a decision, and anything else an observation or a standard.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from flowcontract import paths, yamlio
from flowcontract.errors import SpecError
from flowcontract.provenance.sources import RULING, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flowcontract.provenance.sources import Ruling

MAX_QUOTE = 600  # characters of one quotation
_STANDARD = re.compile(r"(?:observed: )?(?:RFC \d|WHATWG )")


class Tier(StrEnum):
    """How firm a demand is, the firmest first; a server error is always wrong."""

    DOCUMENT = "document"
    RULING = "ruling"
    OBSERVED = "observed"
    STANDARD = "standard"
    SERVER_ERROR = "server-error"


BARS = (Tier.DOCUMENT, Tier.RULING, Tier.OBSERVED, Tier.STANDARD)
DEFAULT_BAR = Tier.RULING


def fails(tier: Tier, bar: Tier = DEFAULT_BAR) -> bool:
    """Tell whether a violation of this tier fails a run that demands the tiers up to `bar`."""
    return tier == Tier.SERVER_ERROR or BARS.index(tier) <= BARS.index(bar)


def find_tier(sources: Iterable[str], rulings: Mapping[str, Ruling]) -> Tier:
    """Return the tier of a demand with this provenance; without any it is demanded by the protocol alone.

    A ruling weakens the lines beside it, because it interprets them; of several rulings the weakest counts. Lines from
    which a ruling derives its demand count as cited.
    """
    texts = tuple(sources)
    decided = list_cited_rulings(texts, rulings)
    if any(map(is_printed, texts)) or any(ruling.derives for ruling in decided):
        return find_weakest((Tier.DOCUMENT, *map(find_ruling_tier, decided)))
    seen = [text for text in texts if not text.startswith(RULING)]
    standard = all(map(_STANDARD.match, seen)) and (seen or not decided)
    return Tier.STANDARD if standard else Tier.OBSERVED


def find_ruling_tier(ruling: Ruling) -> Tier:
    """Return the tier of a ruling's demand: one that fills a gap is an observation, unless a line implies it."""
    return Tier.OBSERVED if ruling.basis == "gap" and not ruling.derives else Tier.RULING


def find_weakest(tiers: Iterable[Tier]) -> Tier:
    """Return the weakest of several tiers."""
    return max(tiers, key=BARS.index)


def list_cited_rulings(sources: Iterable[str], rulings: Mapping[str, Ruling]) -> tuple[Ruling, ...]:
    """Return the rulings that a provenance cites."""
    names = (text.removeprefix(RULING) for text in sources if text.startswith(RULING))
    return tuple(rulings[name] for name in names if name in rulings)


def is_printed(source: str) -> bool:
    """Tell whether a source is lines of a document."""
    try:
        Source.parse(source)
    except SpecError:
        return False
    return True


class Quote(NamedTuple):
    """A quotation: the source, the document's title, and the lines, shortened to fit a report."""

    source: str
    title: str
    text: str


def quote(source: str) -> Quote | None:
    """Return the lines of a source; None if it is not lines of a packaged document."""
    if not is_printed(source):
        return None
    lines = Source.parse(source)
    document = _load_documents().get(lines.document)
    if document is None:
        return None
    title, printed = document
    text = "\n".join(line.strip() for line in printed[lines.first - 1 : lines.last])
    return Quote(source, title, text if len(text) <= MAX_QUOTE else f"{text[: MAX_QUOTE - 3]}...")


def list_quotes(sources: Iterable[str]) -> tuple[Quote, ...]:
    """Return the quotations of those sources that have one."""
    return tuple(found for source in sources if (found := quote(source)))


@cache
def _load_documents() -> dict[str, tuple[str, list[str]]]:
    """Return title and lines of each document, by its number."""
    root = paths.find_specs_root()
    listed = yamlio.load(root / "sources.yaml")["documents"]
    return {
        number: (about["title"], (root / "documents" / about["file"]).read_text(encoding="utf-8").split("\n"))
        for number, about in listed.items()
    }
