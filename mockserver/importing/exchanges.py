"""Recorded exchanges that belong to an operation, each with what a scenario needs of it; why others do not."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from flowcontract.output.secret_names import is_secret_name
from flowcontract.output.secret_texts import MASK
from flowcontract.output.secrets import Secrets, find_values_in_header
from flowcontract.recordings.operations import Operations
from flowcontract.recordings.untrusted import Unreadable
from mockserver.importing.replies import draft_reply, list_values, replace_values
from mockserver.importing.requests import REFUSES_KEYS, describe_request, lacks_body
from mockserver.importing.substitution import UUID, Substitution, list_reserved, write_canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from flowcontract.recordings.exchange import Recorded, RecordedAnswer
    from flowcontract.recordings.operations import Asked
    from flowcontract.specs.model import Api, Operation
    from mockserver.importing.replies import Draft

_TEXT_FIELDS = ("query", "input_value", "text", "name")
_SCHEMES = ("bearer", "basic", "token", "digest")  # which are no secrets where no key follows
_WORDS, _LONGEST_SLUG = 6, 48
_NOT_COMPARED = ("pieces=",)  # faults that say how an answer travelled, not what it was


class Entry(NamedTuple):
    """A recorded exchange, and where it was read: the recording's name and, of several in it, its own number."""

    source: str
    recorded: Recorded
    several: bool = True

    @property
    def place(self) -> str:
        """How messages call it."""
        return f"entry {self.recorded.number} of {self.source}" if self.several else self.source


@dataclass(frozen=True, slots=True)
class Exchange:
    """One recorded exchange of an operation.

    ``place``       among all that are imported, from 0
    ``request``     of the scenario, `times` and `after` aside
    ``reply``       of the scenario, with expressions
    ``sample``      of the scenario: texts that would be taken for expressions
    ``answer_key``  by which equal answers are known: all but delays and pieces
    """

    place: int
    entry: Entry
    operation: Operation
    answer: RecordedAnswer
    request: dict[str, Any]
    draft: Draft
    reply: dict[str, Any]
    sample: dict[str, str]
    slug: str
    answer_key: str = field(repr=False, default="")

    @property
    def status(self) -> int:
        """The status of the answer."""
        return self.answer.status


@dataclass(slots=True)
class Found:
    """What recordings contain. `problems` could not be read, `strangers` belong to no operation or to another host."""

    exchanges: list[Exchange] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_exchanges(entries: Iterable[Entry], apis: Mapping[str, Api], servers: Sequence[str] = ()) -> Found:
    """Return the exchanges of some APIs with one server, or with those that are named (`HOST` or `HOST:PORT`)."""
    found, operations = Found(), Operations(apis.values())
    known = [(entry, operations.find(entry.recorded)) for entry in entries]
    for entry, asked in known:
        if not asked:
            what = f"{entry.recorded.method} {_shorten(entry.recorded.url)}"
            found.strangers.append(f"{entry.place}: no operation of {', '.join(apis)} is {what}")
    known = _keep_servers([(entry, asked) for entry, asked in known if asked], servers, found)
    often = Counter(asked[0].api.name for _, asked in known if len({each.api.name for each in asked}) == 1)
    shared = _find_shared_ids(entry for entry, _ in known)
    reserved = {name: list_reserved(api.bundle) for name, api in apis.items()}
    for entry, asked in known:
        chosen = min(asked, key=lambda each: (len(each.path), -often[each.api.name]))
        try:
            if entry.recorded.answer.status in REFUSES_KEYS:  # nobody's key: what answers is the first API of the path
                chosen = min(operations.find(replace(entry.recorded, app="")), key=lambda each: len(each.path))
            taken = _take(len(found.exchanges), entry, chosen, shared, reserved[chosen.api.name])
        except Unreadable as problem:
            found.problems.append(f"{entry.place}: {problem}")
            continue
        found.exchanges.append(taken)
        found.notes += [f"{entry.place}: {note}" for note in _list_notes(taken)]
    return found


def _keep_servers(
    known: list[tuple[Entry, list[Asked]]], servers: Sequence[str], found: Found
) -> list[tuple[Entry, list[Asked]]]:
    """Return the entries of the servers that are named, else of the one that answered most of each API's."""
    hosts = Counter((asked[0].api.name, urlsplit(entry.recorded.url).netloc) for entry, asked in known)
    most = {api: _find_busiest_host(hosts, api) for api, _ in hosts}
    kept = []
    for entry, asked in known:
        host = urlsplit(entry.recorded.url).netloc
        wanted = servers or (most[asked[0].api.name],)
        if host in wanted or (servers and host.partition(":")[0] in servers):
            kept.append((entry, asked))
        else:
            what = f"it is of another host, {host or 'none'}; those of {', '.join(wanted) or 'no host'} are imported"
            found.strangers.append(f"{entry.place}: {what}. Name it with --server to import it.")
    return kept


def _find_busiest_host(hosts: Counter[tuple[str, str]], api: str) -> str:
    return max((count, host) for (name, host), count in hosts.items() if name == api)[1]


def _find_shared_ids(entries: Iterable[Entry]) -> frozenset[str]:
    """Return the ids that more than one exchange has, in its request or its answer."""
    seen: Counter[str] = Counter()
    for entry in entries:
        recorded = entry.recorded
        try:
            answer = recorded.answer.body
        except Unreadable:
            answer = b""
        text = b" ".join([recorded.url.encode("utf-8", "replace"), recorded.asked or b"", answer])
        seen.update(set(UUID.findall(text.decode("utf-8", "replace"))))
    return frozenset(found for found, count in seen.items() if count > 1)


def _take(place: int, entry: Entry, asked: Asked, shared: frozenset[str], reserved: frozenset[str]) -> Exchange:
    """Return an entry as an exchange of an operation; raise Unreadable if its answer cannot be read."""
    recorded = entry.recorded
    answer = recorded.answer
    secrets = _list_secrets(recorded)
    request = describe_request(recorded, asked, answer.status)
    if "headers" in request:
        request["headers"] = {name: _mask_header(value, secrets) for name, value in request["headers"].items()}
    request |= {name: secrets.mask_json(part) for name, part in request.items() if name != "headers"}
    draft = draft_reply(answer, asked.operation)
    draft.reply = {
        **draft.reply,
        **{name: secrets.mask_json(part) for name, part in draft.reply.items() if name in ("body", "events", "lines")},
    }
    lasted_s = max([answer.wait_ms, *(piece.at_ms for piece in answer.pieces[-1:])]) / 1000
    expressions = Substitution(request, shared=shared, reserved=reserved, began=recorded.at, lasted_s=lasted_s)
    for value in list_values(draft):
        expressions.look(value)
    reply = replace_values(draft, expressions.replace, expressions.keep)
    return Exchange(
        place,
        entry,
        asked.operation,
        answer,
        request,
        draft,
        reply,
        expressions.sample,
        _make_slug(recorded, asked.operation, request),
        _make_key(answer.status, reply, draft),
    )


def _list_secrets(recorded: Recorded) -> Secrets:
    found = Secrets()
    for name, value in recorded.headers.items():
        if is_secret_name(name):
            for secret in find_values_in_header(name, value):
                if secret.lower() not in _SCHEMES:
                    found.add(secret)
    return found


def _mask_header(value: str | None, secrets: Secrets) -> str | None:
    return None if value is None else secrets.mask(value)


def _list_notes(taken: Exchange) -> Iterable[str]:
    yield from taken.draft.notes
    yield from taken.answer.notes
    if lacks_body(taken.entry.recorded):
        yield "the body of its request was not recorded: its scenario answers whatever body comes"
    if taken.answer.left:
        yield f"its end was not recorded ({taken.answer.left}): its scenario ends there"
    if MASK in str(taken.reply):
        yield f"its answer has {MASK} in place of secrets, and so has its scenario"


def _make_key(status: int, reply: Mapping[str, Any], draft: Draft) -> str:
    """Return what tells an answer from others: all of it but its times."""
    bare = {name: part for name, part in reply.items() if name != "delay_ms"}
    for kind in ("events", "lines"):
        if kind in bare:
            bare[kind] = [{name: part for name, part in event.items() if name != "delay_ms"} for event in bare[kind]]
    faults = [fault for fault in draft.faults if not fault.startswith(_NOT_COMPARED)]
    digest = hashlib.sha256(draft.file[1]).hexdigest() if draft.file else ""
    return write_canonical([status, bare, faults, digest])


def _make_slug(recorded: Recorded, operation: Operation, request: Mapping[str, Any]) -> str:
    """Return words for the file's name: the recorder's name for the exchange, what was asked, or the operation's."""
    body = request.get("body")
    asked = next((body[name] for name in _TEXT_FIELDS if isinstance(body, dict) and body.get(name)), "")
    named = "" if "/" in recorded.name else recorded.name  # else it is the name of an operation, or a path
    for text in (named, str(asked)):
        words = re.findall(r"[a-z0-9]+", re.sub(r"^\d+_", "", text).lower())
        if slug := "-".join(words[:_WORDS])[:_LONGEST_SLUG].strip("-"):
            return slug
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", operation.id).lower()


def _shorten(url: str) -> str:
    return url if len(url) <= 200 else f"{url[:197]}..."  # noqa: PLR2004 - characters that a line can hold
