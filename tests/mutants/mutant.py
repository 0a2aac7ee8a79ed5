"""One thing that a server does wrong, and the proxy between suite and mock that does it.

The form of a mutant (`<api>.yaml`, a list):

    at: '004:107'            the line of a document that it goes against
    op: sendChatMessage      the operation whose requests or answers it changes
    sort: end                what sort of wrong it is
    if: {status, code, whole, streamed}   only answers like this; without it all that went well
    pace: 1                  with a mock that takes its time
    do:                      one of
      status: 202 | type: text/html | raw: text        of the answer
      delete: POINTER | set: {POINTER: value} | reverse: POINTER | rotate: POINTER   in its JSON; `*` is every item
      kind: KIND, nth: N, delete | set                 the same in events of a kind (one of them: `nth`)
      drop: KIND, nth: N | duplicate: KIND, nth: N | swap: [KIND, KIND] | append: KIND | cut: KIND (after its first)
      pause_s: SECONDS, after: KIND | bytes: [old, new]
      answer: {status, body}                           instead of the answer
      ignore: {status, body}                           the same, and the request never arrives
      accept: {body | query: {NAME: VALUE}}, valid: [...]   puts VALUE where NAME is missing, empty, of another type,
                                                            or none of the valid
      overwrite: {body: {NAME: VALUE}} | forget: {body | query: [NAME]}   in every request
      key: any                                         every key opens
      everybody: TEXT                                  every user is the same one
    caught: RULE or list     by which rule the suite must notice
    tier: TIER               what that demand rests on: `document`, `ruling` and `server-error` are red, others notes
"""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from flowcontract import yamlio

FOLDER = Path(__file__).parent
Headers = list[tuple[str, str]]
Query = list[tuple[str, str]]


@dataclass(frozen=True)
class Mutant:
    """One thing that a server does wrong."""

    api: str
    at: str
    op: str
    sort: str
    do: dict[str, Any]
    caught: tuple[str, ...]
    when: dict[str, Any] = field(default_factory=dict)
    pace: float = 0
    tier: str = ""

    @cached_property
    def name(self) -> str:
        """What it does, for people."""
        when = f" if {json.dumps(self.when)}" if self.when else ""
        return f"{self.api}/{self.op} {self.at} {self.sort}: {json.dumps(self.do, ensure_ascii=False)}{when}"


def load(folder: Path = FOLDER) -> list[Mutant]:
    """Read all mutants."""
    return [_mutant(path.stem, one) for path in sorted(folder.glob("*.yaml")) for one in yamlio.load(path)]


def name_tiers(tiers: Mapping[str, str], folder: Path = FOLDER) -> None:
    """Write the tier of each mutant, by name, into its line of the files, which else stay as they are."""
    for path in sorted(folder.glob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        for number, line in enumerate(lines):
            if line.startswith("- "):
                (mutant,) = (_mutant(path.stem, entry) for entry in yamlio.loads(line))
                lines[number] = _with_tier(line, tiers.get(mutant.name, mutant.tier))
        path.write_text("".join(lines), encoding="utf-8")


def _with_tier(line: str, tier: str) -> str:
    plain = re.sub(r", tier: [\w-]+\}$", "}", line.rstrip("\n"))
    return f"{plain[:-1]}, tier: {tier}}}\n" if tier else line


def _mutant(api: str, one: dict[str, Any]) -> Mutant:
    one = dict(one)
    caught = one.pop("caught")
    when = one.pop("if", {})
    return Mutant(api=api, caught=tuple([caught] if isinstance(caught, str) else caught), when=when, **one)


class _HasBody:
    raw: bytes

    @property
    def body(self) -> Any:
        """The JSON of the body; None where it is none."""
        try:
            return json.loads(self.raw)
        except ValueError:
            return None


@dataclass
class Question(_HasBody):
    """A request on its way; `body` is parsed where it is JSON."""

    method: str
    path: str
    query: Query
    headers: Headers
    raw: bytes


@dataclass
class Reply(_HasBody):
    """An answer on its way back, as a whole."""

    status: int
    headers: Headers
    raw: bytes

    @property
    def streamed(self) -> bool:
        """Whether it is a stream of events."""
        return any(name.lower() == "content-type" and "event-stream" in value.lower() for name, value in self.headers)


class Mutation:
    """A mutant at work: changes what belongs to its operation, and counts how often."""

    wire: Mapping[str, Any] = {}  # how an answer is sent, where that is what differs

    def __init__(self, mutant: Mutant, method: str, path: str, keys: dict[str, str]) -> None:
        """`path` is the operation's template with the base path; `keys` the headers that open the API."""
        self.mutant = mutant
        self.applied = 0
        self._method = method
        self._path = re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + "/?")
        self._keys = keys
        self.live = bool(mutant.pace)  # whether streams pass while they come

    def head(self, reply: Reply) -> Reply:
        """Return an answer as its head is sent, before a stream passes."""
        return reply

    def is_meant(self, question: Question) -> bool:
        """Tell whether a request is one of the operation's."""
        return question.method == self._method and self._path.fullmatch(question.path) is not None

    def acting(self, question: Question) -> Mutation | None:
        """Return what changes a request and its answer; None where nothing does."""
        return self if self.is_meant(question) else None

    def ask(self, question: Question) -> Reply | None:
        """Change a request, or answer it."""
        do = self.mutant.do
        if "ignore" in do:
            self.applied += 1
            return _answer(do["ignore"])
        if "key" in do:
            self._open(question)
        for place in ("body", "query"):
            self._accept(question, place, do.get("accept", {}).get(place, {}))
            self._overwrite(question, place, do.get("overwrite", {}).get(place, {}))
            self._forget(question, place, do.get("forget", {}).get(place, []))
        return None

    def _open(self, question: Question) -> None:
        names = {name.lower() for name in self._keys} | {"authorization", "x-api-key"}
        given = {name.lower(): value for name, value in question.headers}
        if all("wrong" not in given.get(name.lower(), "wrong") for name in self._keys):
            return
        self.applied += 1
        question.headers = [(name, value) for name, value in question.headers if name.lower() not in names]
        question.headers += self._keys.items()

    def _accept(self, question: Question, place: str, values: dict[str, Any]) -> None:
        for name, value in values.items():
            given = _get(question, place, name)
            valid = self.mutant.do.get("valid")
            wrong = (
                given not in valid if valid and given is not _ABSENT else type(given) is not type(value) or given == ""
            )
            if wrong and not (given is _ABSENT and valid):
                self.applied += 1
                _put(question, place, name, value)

    def _overwrite(self, question: Question, place: str, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if _get(question, place, name) not in (value, _ABSENT):
                self.applied += 1
                _put(question, place, name, value)

    def _forget(self, question: Question, place: str, names: list[str]) -> None:
        for name in names:
            if _get(question, place, name) not in (_ABSENT, ""):
                self.applied += 1
                _put(question, place, name, _ABSENT)

    def answer(self, reply: Reply) -> Reply:
        """Change an answer."""
        do = self.mutant.do
        if not self._fits(reply):
            return reply
        if reply.streamed and _STREAMED & set(do):
            return self._changed(reply, self._stream(reply))
        changed = Reply(reply.status, list(reply.headers), reply.raw)
        if "answer" in do:
            changed = _answer(do["answer"])
        if "status" in do:
            changed.status = do["status"]
        if "type" in do:
            changed.headers = [pair for pair in changed.headers if pair[0].lower() != "content-type"]
            changed.headers.append(("Content-Type", do["type"]))
        if "raw" in do:
            changed.raw = do["raw"].encode()
        if not reply.streamed and "kind" not in do and isinstance(body := changed.body, dict | list):
            new = json.dumps(edited(body, do))
            if new != json.dumps(body):  # not by ==, to which 0 and false are the same
                changed.raw = new.encode()
        self.applied += changed != reply
        return changed

    def passing(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Let a stream pass as it comes: what a mutant changes in one, it changes in the whole of it."""
        yield from pieces

    def _changed(self, reply: Reply, raw: bytes) -> Reply:
        self.applied += raw != reply.raw
        return Reply(reply.status, reply.headers, raw)

    def _fits(self, reply: Reply) -> bool:
        when = self.mutant.when
        code = reply.body.get("code") if isinstance(reply.body, dict) else None
        if "whole" in when or "streamed" in when:
            return reply.status < 300 and reply.streamed == ("streamed" in when)
        if not when:
            return reply.status < 300
        return when.get("status", reply.status) == reply.status and when.get("code", code) == code

    def _stream(self, reply: Reply) -> bytes:
        do = self.mutant.do
        if "bytes" in do:
            old, new = (text.encode() for text in do["bytes"])
            return reply.raw.replace(old, new)
        blocks = read_blocks(reply.raw)
        return b"".join(write_block(block) for block in _acted(blocks, do))

    def pauses(self, raw: bytes) -> Iterator[bytes]:
        """Yield a stream's bytes, with the pause where the mutant makes one."""
        do = self.mutant.do
        if "pause_s" not in do:
            yield raw
            return
        waited = False
        for block in read_blocks(raw):
            yield write_block(block)
            if not waited and kind_of(block) == do["after"]:
                waited = True
                self.applied += 1
                time.sleep(do["pause_s"])


_ABSENT = object()
_STREAMED = {"kind", "drop", "duplicate", "swap", "append", "cut", "bytes"}


def _answer(given: dict[str, Any]) -> Reply:
    return Reply(given["status"], [("Content-Type", "application/json")], json.dumps(given["body"]).encode())


def _get(question: Question, place: str, name: str) -> Any:
    if place == "query":
        return dict(question.query).get(name, _ABSENT)
    return question.body.get(name, _ABSENT) if isinstance(question.body, dict) else _ABSENT


def _put(question: Question, place: str, name: str, value: Any) -> None:
    if place == "query":
        question.query = [pair for pair in question.query if pair[0] != name]
        question.query += [] if value is _ABSENT else [(name, value)]
    elif isinstance(question.body, dict):
        others = {key: item for key, item in question.body.items() if key != name}
        question.raw = json.dumps(others if value is _ABSENT else {**others, name: value}).encode()


def edited(body: Any, do: dict[str, Any]) -> Any:
    """Return a JSON value with the edits made."""
    body = copy.deepcopy(body)
    for pointer, value in do.get("set", {}).items():
        if pointer == "":
            return value
        for holder, key in _places(body, pointer):
            holder[key] = value
    for holder, key in list(_places(body, do["delete"])) if "delete" in do else ():
        del holder[key]
    for holder, key in _places(body, do["reverse"]) if "reverse" in do else ():
        holder[key] = holder[key][::-1]
    for holder, key in _places(body, do["rotate"]) if "rotate" in do else ():
        holder[key] = holder[key][1:] + holder[key][:1]
    return body


def _places(value: Any, pointer: str) -> Iterator[tuple[Any, Any]]:
    """Yield each holder and key that a pointer means and that there is; `*` is every item of a list."""
    head, _, rest = pointer[1:].partition("/")
    keys: Iterable[Any] = ()
    if isinstance(value, list):
        keys = range(len(value)) if head == "*" else [int(head)] if head.isdecimal() and int(head) < len(value) else []
    elif isinstance(value, dict):
        keys = [head] if head in value or not rest else []
    for key in keys:
        if rest:
            yield from _places(value[key], f"/{rest}")
        elif isinstance(value, list) or key in value:
            yield value, key


Block = tuple[str, Any]  # what stands before the JSON, and the JSON; or the text of a block without


def read_blocks(raw: bytes) -> list[Block]:
    """Return the blocks of a stream."""
    found: list[Block] = []
    for text in filter(None, raw.decode().split("\n\n")):
        lead = "data: " if text.startswith("data: ") else ""
        try:
            found.append((lead, json.loads(text.removeprefix("data: "))))
        except ValueError:
            found.append((text, None))
    return found


def write_block(block: Block) -> bytes:
    """Return a block as it stands on the wire."""
    lead, payload = block
    return (lead + ("" if payload is None else json.dumps(payload)) + "\n\n").encode()


def kind_of(block: Block) -> Any:
    """Return what kind of event a block is; None for one without JSON."""
    return block[1].get("event") if isinstance(block[1], dict) else None


def _acted(blocks: list[Block], do: dict[str, Any]) -> list[Block]:
    """Return the blocks of a stream as the mutant sends them."""
    if "swap" in do:
        one, two = (_first(blocks, kind) for kind in do["swap"])
        if one is not None and two is not None:
            blocks[one], blocks[two] = blocks[two], blocks[one]
        return blocks
    kind = next(do[word] for word in ("kind", "drop", "duplicate", "append", "cut") if word in do)
    meant = [number for number, block in enumerate(blocks) if kind_of(block) == kind]
    meant = meant[do["nth"] : do["nth"] + 1] if "nth" in do else meant
    if not meant:
        return blocks
    if "append" in do:
        return [*blocks, blocks[meant[0]]]
    if "cut" in do:
        return blocks[: meant[0] + 1]
    copies = 0 if "drop" in do else 2 if "duplicate" in do else 1
    acted: list[Block] = []
    for number, (lead, payload) in enumerate(blocks):
        sent = edited(payload, do) if number in meant and "kind" in do else payload
        acted += [(lead, sent)] * (copies if number in meant else 1)
    return acted


def _first(blocks: list[Block], kind: str) -> int | None:
    return next((number for number, block in enumerate(blocks) if kind_of(block) == kind), None)


def read_query(text: str) -> Query:
    """Return a query string's pairs."""
    return parse_qsl(text, keep_blank_values=True)


def write_query(query: Query) -> str:
    """Return pairs as a query string."""
    return urlencode(query)
