"""Judges a stream by its contract, event by event, while it arrives."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from flowcontract.errors import BlockTooLargeError
from flowcontract.pointers import get_value
from flowcontract.provenance.evidence import Tier
from flowcontract.schemas.decoding import parse_json
from flowcontract.schemas.violations import Violation
from flowcontract.streams.rules import Follower, Mismatch, Moment, Rule, has_come
from flowcontract.streams.showing import show
from flowcontract.streams.sse import MAX_BLOCK_BYTES, Block, Decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from flowcontract.streams.contract import Alternative, StreamContract
    from flowcontract.streams.order import Progress

    See = Callable[[Moment], Iterator[Mismatch]]

_STANDARD = ("WHATWG HTML, 9.2.6: interpreting an event stream",)
SILENCE_SLACK_S = 2.0  # seconds that the network and a busy server may add to the longest silence
_GUESSES: Final = 20  # unknown kinds that are compared with the known ones, which is slow
_LONGEST_KIND: Final = 100  # characters of an unknown kind that may be a misspelt one
_CLOSE: Final = 0.8  # similarity, from 0 to 1, from which a kind counts as misspelt


@dataclass(frozen=True, slots=True)
class StreamBudget:
    """How much of a stream is judged before it counts as endless; None means no limit."""

    events: int | None = None
    bytes: int | None = None
    seconds: float | None = None


class JudgedEvent(NamedTuple):
    """One event: number from 1, byte offset, kind, payload, and whether the contract has its kind."""

    number: int
    offset: int
    kind: str
    payload: object
    known: bool


class _Watch:
    """A rule and its follower in this stream; once an `unless` has suspended it, it reports nothing more."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._follower: Follower = rule.follow()
        self._lifted = False

    @property
    def ask(self) -> See:
        """What sees an event: the follower itself where nothing can suspend the rule."""
        return self.see if self.rule.unless else self._follower.see

    def see(self, moment: Moment) -> Iterator[Mismatch]:
        self._lifted |= has_come(self.rule.unless, moment)
        return iter(()) if self._lifted else self._follower.see(moment)

    def close(self) -> Iterator[Mismatch]:
        return iter(()) if self._lifted else self._follower.close()


class StreamJudge:
    """Judges one stream while its bytes arrive.

    ``ended``        whether an event that ends the answer has come
    ``complete``     whether the stream may stop here
    ``count``        number of events so far
    ``fresh``        the events of the last `feed`
    ``kinds``        kind -> number of events
    ``transitions``  (previous kind, kind) pairs, without kinds allowed anywhere; `""` is the beginning
    ``unknown``      kinds that the contract does not name, in order of appearance
    ``misspelt``     those of them that look misspelt -> the kind that was probably meant
    ``finished``     whether the judge ignores further bytes: closed, over its budget, or unreadable

    Times are seconds of one clock, such as `time.monotonic`; without them silence and duration are not judged.
    """

    def __init__(
        self,
        contract: StreamContract,
        *,
        budget: StreamBudget | None = None,
        started: float | None = None,
        max_block_bytes: int = MAX_BLOCK_BYTES,
        without: Collection[str] = (),
    ) -> None:
        """Judge by `contract`, within `budget`, from the time `started` on; `without` names rules to leave out."""
        self.contract = contract
        self.count = 0
        self.ended = False
        self.finished = False
        self.fresh: list[JudgedEvent] = []
        self.kinds: dict[str, int] = {}
        self.transitions: set[tuple[str, str]] = set()
        self.misspelt: dict[str, str] = {}
        self._unknown: dict[str, None] = {}  # as a set that remembers the order
        self._budget = budget or StreamBudget()
        self._decoder = Decoder(contract.framing, max_block_bytes=max_block_bytes)
        self._progress: Progress = contract.orders.start
        self._in_order = True  # so far
        self._watches = [_Watch(rule) for rule in contract.rules if rule.word not in without]
        self._by_kind: dict[str, list[tuple[Rule, See]]] = {}
        named = (kind for rule in contract.rules for kind in rule.list_kinds())
        guarding = (atom.kind for rule in contract.rules for atom in rule.list_guards())
        self._watched = contract.end | {*named, *guarding}
        self._bytes = 0
        self._started = self._last_block_at = started
        self._previous_kind = ""

    @property
    def unknown(self) -> list[str]:
        """The kinds that the contract does not name, in order of appearance."""
        return list(self._unknown)

    @property
    def complete(self) -> bool:
        """Whether the stream may stop here: the answer has ended and an order accepts."""
        return self.ended and bool(self.contract.orders.complete(self._progress))

    @property
    def matched(self) -> Alternative | None:
        """The alternative that the stream follows, accepting ones first; None once an event was out of order."""
        if not self._in_order:
            return None
        names = self.contract.orders.complete(self._progress) or self.contract.orders.list_possible(self._progress)
        return self.contract.get_alternative(names[0])

    def feed(self, data: bytes, now: float | None = None) -> list[Violation]:
        """Judge the next bytes, received at `now`; return their violations. Empty bytes only let time pass."""
        self.fresh = []
        if self.finished:
            return []
        self._bytes += len(data)
        found: list[Violation] = []
        try:
            blocks = self._decoder.feed(data)
        except BlockTooLargeError as error:
            blocks = error.before
            self.finished = True
            found.append(
                self._build_framing_violation(
                    "blocks that end with a blank line", str(error), self._bytes, self._block_sources
                )
            )
        found += self._check_silence(now, heard=bool(blocks))
        for block in blocks:
            found += self._judge_block(block)
            if self._exceeds(self.count, self._budget.events, "events", found):
                return found
        self._exceeds(self._bytes, self._budget.bytes, "bytes", found)
        if now is not None and self._started is not None:
            self._exceeds(now - self._started, self._budget.seconds, "seconds", found)
        return found

    def close(self, now: float | None = None) -> list[Violation]:
        """Judge the end of the stream; return what is missing, which is nothing once the budget was exceeded."""
        self.fresh = []
        if self.finished:
            return []
        self.finished = True
        found = self._check_silence(now, heard=False)
        for block in self._decoder.close():
            got = _describe_joined_events(block) or f"the stream ended inside a block: {block.raw[:60]!r}"
            found.append(
                self._build_framing_violation("a blank line after every block", got, block.start, self._block_sources)
            )
        for watch in self._watches:
            found += [self._build_violation(watch.rule.word, mismatch, watch.rule.source) for mismatch in watch.close()]
        return found + self._check_end()

    def _find_watches(self, kind: str) -> list[tuple[Rule, See]]:
        """Return the rules that a kind concerns; an event that ends the answer concerns all of them."""
        kind = kind if kind in self._watched else ""  # bounds the cache: unknown kinds share one entry
        if kind not in self._by_kind:
            ends = kind in self.contract.end
            concerned = (watch for watch in self._watches if ends or watch.rule.concerns(kind))
            self._by_kind[kind] = [(watch.rule, watch.ask) for watch in concerned]
        return self._by_kind[kind]

    def _check_end(self) -> list[Violation]:
        """Return the violations of a stream that stops here."""
        guesses = "".join(f'; "{kind}": did you mean "{meant}"?' for kind, meant in self.misspelt.items())
        got = f"the stream ended after {self._previous_kind or 'nothing'}{guesses}"
        if not self.ended:
            missing = self._build_violation("end", Mismatch(self._describe_allowed(), got), self._end_sources())
            return [
                missing if self._previous_kind else replace(missing, tier=Tier.SERVER_ERROR)
            ]  # there was no answer at all
        if self._in_order and not self.complete:
            return [self._build_violation("order", Mismatch(self._describe_allowed(), got), self._list_order_sources())]
        return []

    def _judge_block(self, block: Block) -> list[Violation]:
        """Judge one block: decode its payload, then judge the event."""
        if block.event is None:
            return self._judge_bare_block(block)
        data = block.event.data
        self.count += 1
        if "\ufffd" in data and not _is_utf8(block.raw):
            return [self._build_framing_violation("UTF-8", f"bytes that are none, in {block.raw[:60]!r}", block.start)]
        try:
            payload = parse_json(data)
        except ValueError as error:
            joined = _describe_joined_events(block)  # most often, this is what is wrong
            wanted = "a blank line after every block" if joined else "data that is JSON"
            got = joined or f"{error}: {data[:60]!r}"
            return [self._build_framing_violation(wanted, got, block.start, self._block_sources)]
        kind = get_value(payload, self.contract.kind)
        if not isinstance(kind, str):
            expected = f'an object whose "{self.contract.kind}" says what it is'
            return [self._build_violation("kind", Mismatch(expected, show(payload)), self._block_sources, block.start)]
        named = block.event.type
        found = self._judge_event(kind, payload, block.start)
        if named not in ("message", kind):
            return [*found, self._build_framing_violation(f'"event: {kind}" or none', f'"event: {named}"', block.start)]
        return [*found, *self._check_first_line(block)]

    def _check_first_line(self, block: Block) -> list[Violation]:
        """Check the first line of a block that has data."""
        first = self.contract.first_line
        if first is None or block.raw.startswith(f"{first.field}:".encode()):
            return []
        return [
            Violation(
                "framing",
                f'a block that begins with "{first.field}:"',
                repr(block.raw[:60])[1:],
                event=self.count or None,
                offset=block.start,
                source=first.source,
            )
        ]

    def _judge_bare_block(self, block: Block) -> list[Violation]:
        """Judge a block without data, which no client dispatches: a bare `event:`, comments, ids, or something else."""
        names = {item.name for item in block.fields}
        if "event" in names:
            kind = next(item.value for item in reversed(block.fields) if item.name == "event")
            self.count += 1
            return self._judge_event(kind, {self.contract.kind: kind}, block.start)
        if names & {"", "id", "retry"}:
            return []
        self.count += 1
        return [
            self._build_framing_violation(
                'a block with "data:"', repr(block.raw[:60])[1:], block.start, self._block_sources
            )
        ]

    def _judge_event(self, kind: str, payload: object, offset: int) -> list[Violation]:
        known = kind in self.contract.events
        self.fresh.append(JudgedEvent(self.count, offset, kind, payload, known))
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        found = self._check_schema(kind, payload, offset) if known else self._note_unknown(kind, offset)
        if kind in self.contract.anywhere:
            return found
        found += self._check_order(kind, payload, offset, known=known)
        moment = Moment(kind, payload, self.ended)
        for rule, see in self._find_watches(kind):
            for mismatch in see(moment):
                found.append(self._build_violation(rule.word, mismatch, rule.source, offset))
        self.transitions.add((self._previous_kind, kind))
        self._previous_kind = kind
        return found

    def _check_schema(self, kind: str, payload: object, offset: int) -> list[Violation]:
        event = self.contract.events[kind]
        return [
            replace(found, rule="schema", event=self.count, offset=offset, source=found.source or event.source)
            for found in event.validate(payload)
        ]

    def _note_unknown(self, kind: str, offset: int) -> list[Violation]:
        if kind not in self._unknown:
            self._unknown[kind] = None
            self._guess_intended_kind(kind)
        if self.contract.unknown_allowed or kind in self.contract.undocumented:
            return []
        guess = f': did you mean "{self.misspelt[kind]}"?' if kind in self.misspelt else ""
        return [
            self._build_violation(
                "unknown", Mismatch("a kind that the contract names", kind + guess), self._block_sources, offset
            )
        ]

    def _guess_intended_kind(self, kind: str) -> None:
        """Note the kind that was probably meant by an unknown one."""
        if len(self._unknown) > _GUESSES or len(kind) > _LONGEST_KIND or kind in self.contract.undocumented:
            return
        written = kind.lower().replace("-", "_")
        for close in difflib.get_close_matches(written, sorted(self.contract.events), n=1, cutoff=_CLOSE):
            self.misspelt[kind] = close

    def _check_order(self, kind: str, payload: object, offset: int, *, known: bool) -> list[Violation]:
        """Check whether the event may come now, and advance; one that is out of order is taken as if in its place."""
        if self.ended and kind not in self.contract.after_end:
            return [
                self._build_violation("end", Mismatch(self._describe_allowed(kind), kind), self._end_sources(), offset)
            ]
        if not known:
            return []
        found = []
        progress = self.contract.orders.step(self._progress, kind, payload)
        if not progress.is_possible:
            found = [
                self._build_violation(
                    "order", Mismatch(self._describe_allowed(kind), kind), self._list_order_sources(), offset
                )
            ]
            self._in_order = False
            progress = self.contract.orders.resume(self._progress, kind, payload)
        self._progress = progress
        self.ended = self.ended or kind in self.contract.end
        return found

    def _describe_allowed(self, came: str = "") -> str:
        """Return in words what was allowed here; guards only where they concern the kind that came."""
        atoms = self.contract.orders.list_allowed(self._progress)
        often = {atom.kind for atom in atoms if sum(other.kind == atom.kind for other in atoms) > 1} - {came}
        names = list(dict.fromkeys(atom.kind if atom.kind in often else str(atom) for atom in atoms))
        names += ["the end of the stream"] if self.complete else []
        return f"{' or '.join(names)} after {self._previous_kind or 'the beginning'}"

    def _list_order_sources(self) -> tuple[str, ...]:
        """Return the sources of the orders that are still possible.

        Observed orders are exceptions to the documented ones, which are therefore always included.
        """
        alive = [self.contract.get_alternative(name) for name in self.contract.orders.list_possible(self._progress)]
        documented = [order for order in self.contract.alternatives if order.tier == "documented"]
        if not any(order in documented for order in alive):
            alive += documented
        return tuple(dict.fromkeys(line for order in alive for line in order.source))

    def _end_sources(self) -> tuple[str, ...]:
        """Return the sources of the possible orders and of the events that end the answer."""
        ends = [self.contract.events[kind] for kind in sorted(self.contract.end) if kind in self.contract.events]
        return tuple(dict.fromkeys([*self._list_order_sources(), *(line for event in ends for line in event.source)]))

    @property
    def _block_sources(self) -> tuple[str, ...]:
        """Return the sources of the form of blocks: of the first line if the contract has one, else of the stream."""
        first = self.contract.first_line
        return first.source if first else self.contract.source

    def _check_silence(self, now: float | None, *, heard: bool) -> list[Violation]:
        if now is None:
            return []
        since = now if self._last_block_at is None else self._last_block_at
        if self._started is None:
            self._started = now
        limit = self.contract.silence_s
        quiet = now - since
        if limit is None or quiet <= limit + SILENCE_SLACK_S:
            self._last_block_at = now if heard else since
            return []
        self._last_block_at = now
        mismatch = Mismatch(f"at most {limit:g} s without a block", f"{quiet:.1f} s")
        return [replace(self._build_violation("silence", mismatch), tier=Tier.SERVER_ERROR)]

    def _exceeds(self, spent: float, limit: float | None, unit: str, found: list[Violation]) -> bool:
        if self.finished or limit is None or spent <= limit:
            return False
        self.finished = True
        mismatch = Mismatch(f"the end of the stream within {limit:g} {unit}", f"{spent:g} {unit} and no end")
        found.append(replace(self._build_violation("budget", mismatch), tier=Tier.SERVER_ERROR))
        return True

    def _build_framing_violation(
        self, expected: str, got: str, offset: int, source: tuple[str, ...] = _STANDARD
    ) -> Violation:
        return Violation("framing", expected, got, event=self.count or None, offset=offset, source=source)

    def _build_violation(
        self, rule: str, mismatch: Mismatch, source: tuple[str, ...] = (), offset: int | None = None
    ) -> Violation:
        event = self.count or None
        return Violation(rule, mismatch.expected, mismatch.got, mismatch.where, event, offset, source)


def judge(contract: StreamContract, data: bytes) -> list[Violation]:
    """Judge a whole stream at once."""
    judging = StreamJudge(contract)
    return judging.feed(data) + judging.close()


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _describe_joined_events(block: Block) -> str:
    """Return a description if a block is several events joined without blank lines; else ''."""
    data = [field.value for field in block.fields if field.name == "data"]
    lines = data or block.raw.decode("utf-8", "replace").splitlines()
    if len(lines) < 2 or not all(_is_object(line) for line in lines[:2]):  # noqa: PLR2004 - two lines are joined
        return ""
    return f"{len(lines)} events without a blank line between them: {block.raw[:60]!r}"


def _is_object(text: str) -> bool:
    """Tell whether a line is a whole JSON object."""
    try:
        return isinstance(parse_json(text), dict)
    except ValueError:
        return False
