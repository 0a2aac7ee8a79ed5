"""A server's own manner: what it does otherwise than the mock, and goes against no document.

The form of a server (`tests/benign/*.yaml`, a list), which is a mutant's with these words beside it:

    name: 405 without Allow  what is different, for people
    why: text                why nothing forbids it
    apis: [dify-chat]        of which APIs; without it all four
    for: {path: REGEX, method: M, lacks: [FIELD], has: {FIELD: REGEX}}    only requests like this
    if: {status: 405, refused, well, whole, type, says: REGEX}            only answers like this; without it all
    tests: EXPRESSION        which of the suite's tests the difference can concern (`-k`)
    alone: true              goes with no other
    kind, verdict, caught    of a server of tests/data/real-runs: what it stands for, and what is to be said to it
    and: [{for, if, do}]     what it does besides
    beside: API              another API that is asked at the same time, for its key
    target: FILE             a target file beside it, instead of the mock's own
    idle: true               the suite need not ask what is answered otherwise
    pace: 1                  with a mock that takes its time
    do:                      besides `status`, `type`, `raw`, `set`, `delete`, `kind` and `ignore`, together as needed
      headers: {NAME: VALUE}                headers of an answer; null takes one away
      json: {sort_keys: true, ...}          how JSON is written, of bodies and of events
      add: {NAME: VALUE}                    fields of an object, or of every event of a `kind`
      parse: NAME                           a field that holds JSON as text holds the value itself
      sub: [[PATTERN, TEXT], ...]           in the text of a body, or of each block of a stream
      first: TEXT | each: TEXT              before a stream's first block; behind each block
      hold: [KIND, KIND]                    the first kind waits for the second, but not beyond an error
      exchange: [KIND, KIND]                the first kind, where the second follows at once, comes behind it
      lag: [NAME, NAME]                     a number that equals its neighbour is one less, in every object
      wire: {chunk: BYTES, whole, chunked, close, gzip, delay_s, hang: TEXT}    how an answer is sent
"""

from __future__ import annotations

import gzip
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mutant import Mutant, Mutation, Question, Reply, edited, kind_of, read_blocks

from flowcontract import yamlio

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[1] / "benign"
REAL = Path(__file__).parents[1] / "data" / "real-runs"
APIS = ("agentbuilder", "cybertron", "dify-chat", "dify-workflow")


@dataclass(frozen=True)
class Benign:
    """A server that differs only in what no document says."""

    name: str
    why: str
    do: dict[str, Any]
    apis: tuple[str, ...] = APIS
    asked: Any = None
    when: Any = None
    pace: float = 0
    tests: str = ""
    alone: bool = False
    kind: str = ""
    verdict: str = "false"
    caught: tuple[str, ...] = ()
    further: tuple[Benign, ...] = ()
    idle: bool = False
    beside: str = ""
    target: str = ""

    def manners(self, api: str) -> Together:
        """Return what makes the mock such a server."""
        return Together([Manner(part, api) for part in (self, *self.further)])


def load(folder: Path = FOLDER) -> list[Benign]:
    """Read all benign servers, or those that answer as real releases did."""
    return [_benign(entry) for path in sorted(folder.glob("*.yaml")) for entry in yamlio.load(path)]


def _benign(entry: dict[str, Any]) -> Benign:
    entry = {"name": entry.get("kind", ""), "why": "", **entry}
    caught = entry.pop("caught", ())
    return Benign(
        apis=tuple(entry.pop("apis", APIS)),
        asked=entry.pop("for", {}),
        when=entry.pop("if", {}),
        caught=(caught,) if isinstance(caught, str) else tuple(caught),
        further=tuple(map(_benign, entry.pop("and", ()))),
        **entry,
    )


class Manner(Mutation):
    """A benign server at work, on all operations of an API."""

    def __init__(self, benign: Benign, api: str = "") -> None:
        """Change the answers of a mock that serves `api`."""
        mutant = Mutant(api, "", "", "benign", benign.do, (), pace=benign.pace)
        super().__init__(mutant, "", "", {})
        self.benign = benign
        self.live = True
        self.wire = benign.do.get("wire", {})

    def is_meant(self, question: Question) -> bool:
        """Tell whether a request is like those whose answers change."""
        asked = self.benign.asked
        given = {**dict(question.query), **(question.body if isinstance(question.body, dict) else {})}
        return (
            question.method == asked.get("method", question.method)
            and re.search(asked.get("path", ""), question.path) is not None
            and not set(asked.get("lacks", ())) & set(given)
            and all(name in given for name in asked.get("has", ()))
            and all(re.search(text, json.dumps(given[name])) for name, text in asked.get("has", {}).items())
        )

    def ask(self, question: Question) -> Reply | None:
        """Answer at once where it ignores a request, or let a moment pass."""
        if "delay_s" in self.wire:
            time.sleep(self.wire["delay_s"])
        return super().ask(question)

    def answer(self, reply: Reply) -> Reply:
        """Change a whole answer."""
        if not self._fits(reply):
            return reply
        changed = self.head(super().answer(reply))
        if "parse" in self.benign.do and isinstance(changed.body, dict):
            name = self.benign.do["parse"]
            inner = changed.body.get(name)
            changed.raw = json.dumps({**changed.body, name: json.loads(inner) if inner else inner}).encode()
        if "add" in self.benign.do and isinstance(changed.body, dict):
            changed.raw = json.dumps({**changed.body, **self.benign.do["add"]}).encode()
        if changed.raw and not reply.streamed:
            changed.raw = self._written(changed.raw)
        if self.wire.get("gzip"):
            changed.raw = gzip.compress(changed.raw)
        if "hang" in self.wire:
            changed = Reply(200, [("Content-Type", "text/event-stream")], self.wire["hang"].encode())
        self.applied += changed != reply or bool(self.wire)
        return changed

    def head(self, reply: Reply) -> Reply:
        """Return an answer with the headers changed; the bytes as they are."""
        if not self._fits(reply):
            return reply
        headers = self.benign.do.get("headers", {})
        names = {name.lower() for name in headers}
        kept = [pair for pair in reply.headers if pair[0].lower() not in names]
        kept += [(name, value) for name, value in headers.items() if value is not None]
        if self.wire.get("gzip") and not reply.streamed:
            kept.append(("Content-Encoding", "gzip"))
        changed = Reply(reply.status, kept, reply.raw)
        self.applied += changed != reply
        return changed

    def passing(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Let a stream pass as it comes, block by block, each as this server writes it."""
        if not self._fits(Reply(200, [("Content-Type", "text/event-stream")], b"")):
            yield from pieces
            return
        blocks = self._exchanged(self._held(_blocks(pieces)))
        if self.wire.get("whole"):
            blocks = iter([b"".join(blocks)])
        first = self.benign.do.get("first", "").encode()
        if first:
            self.applied += 1
            yield first
        for block in blocks:
            written = self._block(block)
            self.applied += written != block or bool(self.wire)
            yield written

    def _fits(self, reply: Reply) -> bool:
        when = self.benign.when
        return (
            reply.status == when.get("status", reply.status)
            and ("refused" not in when or reply.status >= 400)
            and ("well" not in when or reply.status < 300)
            and ("whole" not in when or not reply.streamed)
            and ("type" not in when or any(when["type"] in value.lower() for _, value in reply.headers))
            and ("says" not in when or re.search(when["says"], reply.raw.decode("utf-8", "replace")) is not None)
        )

    def _held(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        first, second = self.benign.do.get("hold", ("", ""))
        waiting: list[bytes] = []
        for block in blocks:
            kind = _kind(block)
            if kind and kind == first:
                waiting.append(block)
                continue
            if kind == "error":
                yield from waiting
                waiting = []
            yield block
            if kind and kind == second:
                self.applied += len(waiting)
                yield from waiting
                waiting = []
        yield from waiting

    def _exchanged(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        first, second = self.benign.do.get("exchange", ("", ""))
        last = b""
        for block in blocks:
            if last and _kind(last) == first and _kind(block) == second:
                self.applied += 1
                yield block
                continue
            if last:
                yield last
            last = block
        if last:
            yield last

    def _block(self, block: bytes) -> bytes:
        do = self.benign.do
        lead, _, text = block.rpartition(b"data: ")
        if lead or not block.startswith(b"data: "):
            return block + do.get("each", "").encode()
        if "kind" in do and do["kind"] in ("*", _kind(block)):
            text = json.dumps({**edited(json.loads(text), do), **do.get("add", {})}).encode()
        return lead + b"data: " + self._written(text.strip()) + b"\n\n" + do.get("each", "").encode()

    def _written(self, raw: bytes) -> bytes:
        """Return a text as this server writes it, if it is one."""
        try:
            text = raw.decode()
        except ValueError:
            return raw
        if "lag" in self.benign.do:
            text = json.dumps(_lagging(json.loads(text), *self.benign.do["lag"]))
        if "json" in self.benign.do:
            text = _rewritten(text, self.benign.do["json"])
        for pattern, new in self.benign.do.get("sub", ()):
            text = re.sub(pattern, new, text)
        return text.encode()


class Together(Mutation):
    """One server that has many manners at once, each change made on what the one before has left."""

    def __init__(self, manners: list[Manner]) -> None:
        """Act as all of these do."""
        super().__init__(manners[0].mutant if manners else Mutant("", "", "", "benign", {}, ()), "", "", {})
        self.manners = manners
        self.live = True
        self.wire = {name: value for manner in manners for name, value in manner.wire.items()}

    def acting(self, question: Question) -> Mutation | None:
        """Return those that change a request."""
        return Together([manner for manner in self.manners if manner.is_meant(question)])

    def ask(self, question: Question) -> Reply | None:
        """Let the first answer that does."""
        return next((reply for manner in self.manners if (reply := manner.ask(question))), None)

    def answer(self, reply: Reply) -> Reply:
        """Change a whole answer."""
        for manner in self.manners:
            reply = manner.answer(reply)
        return reply

    def head(self, reply: Reply) -> Reply:
        """Change an answer's head."""
        for manner in self.manners:
            reply = manner.head(reply)
        return reply

    def passing(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Change a stream."""
        for manner in self.manners:
            pieces = manner.passing(pieces)
        return pieces


def _lagging(value: Any, name: str, other: str) -> Any:
    if isinstance(value, list):
        return [_lagging(item, name, other) for item in value]
    if not isinstance(value, dict):
        return value
    late = {name: value[name] - 1} if name in value and value[name] == value.get(other) else {}
    return {key: _lagging(item, name, other) for key, item in value.items()} | late


def _rewritten(text: str, form: dict[str, Any]) -> str:
    try:
        return json.dumps(json.loads(text), **form)
    except ValueError:
        return text


def _blocks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a stream's blocks, each with its blank line; at its end what is left."""
    kept = b""
    for piece in pieces:
        kept += piece
        *whole, kept = kept.split(b"\n\n")
        for block in whole:
            yield block + b"\n\n"
    if kept:
        yield kept


def _kind(block: bytes) -> Any:
    found = read_blocks(block)
    return kind_of(found[0]) if found else None
