"""One exchange as the journal keeps it; secrets are masked when somebody looks, since most are never looked at."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import Headers

from mockserver.blobs.blob import Blob
from mockserver.journal.masking import mask_known
from mockserver.journal.stream_log import StreamLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flowcontract.output.secrets import Secrets
    from flowcontract.schemas.violations import Violation
    from flowcontract.validation.request import RequestViolation
    from mockserver.http.messages import Reply
    from mockserver.journal.masking import Masking
    from mockserver.request.refusals import Refusal

KEPT_OF_REQUEST = 64 << 10
KEPT_OF_ANSWER = 64 << 10
"""Bytes that are kept of a body; its whole size is told beside them."""
KEPT_HEADERS = 100
_KEPT_VIOLATIONS = 100  # of an answer
KEPT_TEXT = 4 << 10  # characters of a path, a query, a header's value, a field of a form

_NO_HEADERS = Headers()
Problem = dict[str, Any]
"""A violation as it is shown: location, field, message, rule; where the contract tells them, expected, got, source."""
Pairs = list[tuple[str, str]]


@dataclass(slots=True)
class Raw:
    """What is kept as it came; it is masked when somebody looks, since most exchanges are never looked at."""

    path: str
    query: str
    headers: Headers
    content: bytes
    masking: Masking
    form: Any = None
    answer_headers: Headers = field(default_factory=lambda: _NO_HEADERS)  # replaced, never changed
    answer: bytes = b""
    _known: Secrets | None = None
    _sent: tuple[int, Secrets] | None = None

    def find_known(self) -> Secrets:
        """Return the secrets of both sides, but for what streams."""
        if self._known is None:
            self._known = self.masking.find_known(self._find_secrets())
        return self._known

    def find_known_with(self, text: str) -> Secrets:
        """Return them with those of a text that was sent, of which more may come."""
        if self._sent is None or self._sent[0] != len(text):
            self._sent = (
                len(text),
                self.masking.find_known(chain(self._find_secrets(), self.masking.find_in_body(text, ""))),
            )
        return self._sent[1]

    def forget_known(self) -> None:
        """Forget the secrets that were found: there may be more."""
        self._known = self._sent = None

    def _find_secrets(self) -> Iterator[str]:
        headers = [*self.headers, *self.answer_headers]
        yield from self.masking.find_in_headers(headers[: 2 * KEPT_HEADERS])
        yield from self.masking.find_in_query(self.query)
        yield from self.masking.find_in_body(_as_text(self.content), _read_media_type(self.headers))
        yield from self.masking.find_in_form(self.form)
        yield from self.masking.find_in_body(_as_text(self.answer), _read_media_type(self.answer_headers))


@dataclass(slots=True)
class Entry:
    """One exchange. Secrets are masked in everything that it tells.

    ``number``      counts from 1, also over those that are forgotten
    ``at``          when it came, epoch seconds of the mock's clock
    ``size``        bytes of the body; ``content`` is only its beginning if ``cut``
    ``world``       API and suffix of the key, `dify-chat-alice`; None without a valid key
    ``operation``   qualified; None where the path leads nowhere
    ``violations``  what of the request the contract forbids, also where a scenario was forced
    ``hints``       what the client probably meant, or what it says that the contract does not know; no violations
    ``scenario``    `<status>-<name>`; None where the mock itself answered
    ``by``          who chose it: prefer, user, override, request, app, default, problem or fault; `forward` where
                    another server answered, whose URL is in ``because``
    ``because``     more of that: what was preferred, or what is wrong
    ``faults``      what was done wrong on purpose, in the order in which it was
    ``status``      of the answer; None as long as there is none
    ``answer_size`` bytes of its body, of which ``answer`` has the first; what streams is in ``stream`` instead
    ``failure``     what went wrong in the mock itself
    ``began``       when it came, by `time.perf_counter`
    ``duration_ms`` how long the answer took, a stream to its end; None as long as that is not known
    ``answer_violations``  what of another server's answer the contract forbids
    """

    number: int
    at: float
    method: str
    size: int
    _raw: Raw = field(repr=False)
    cut: bool = False
    world: str | None = None
    operation: str | None = None
    violations: list[Problem] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    scenario: str | None = None
    by: str | None = None
    because: str | None = None
    faults: tuple[str, ...] = ()
    status: int | None = None
    answer_size: int = 0
    stream: StreamLog | None = None
    failure: str | None = None
    began: float = 0.0
    duration_ms: float | None = None
    answer_violations: list[Problem] = field(default_factory=list)

    @property
    def raw_path(self) -> str:
        """The path as it came: with whatever stands in it."""
        return self._raw.path

    @property
    def path(self) -> str:
        """The path, percent-decoded."""
        return self._hide(self._raw.path)

    def may_hide(self, ids: Sequence[str]) -> bool:
        """Tell whether ids in the path may be secrets: of headers or query, or because a body has them as well.

        Looking through both bodies for all secrets, as `path` does, takes as long as answering.
        """
        raw = self._raw
        if raw.form is not None:
            return True
        secrets = raw.masking.of_head(tuple(raw.headers.items()), raw.query)
        for text in ids:
            for secret in secrets:
                if text in secret or secret in text:
                    return True
            if text.encode() in raw.content or text.encode() in raw.answer:
                return True
        return False

    @property
    def query(self) -> str:
        """The query string as on the wire."""
        return self._hide(self._raw.masking.mask_query(self._raw.query))[:KEPT_TEXT]

    @property
    def headers(self) -> Pairs:
        """The request's headers in their order."""
        return self._hide_headers(self._raw.headers)

    @property
    def answer_headers(self) -> Pairs:
        """The headers of the answer."""
        return self._hide_headers(self._raw.answer_headers)

    @property
    def content(self) -> bytes:
        """The request's body, or its beginning."""
        return self._hide_body(self._raw.content, self._raw.headers)

    @property
    def form(self) -> Any:
        """The fields of a form instead of its bytes, a file as filename, content_type and size; None without a form."""
        return self._raw.find_known().mask_json(self._raw.masking.mask_form(self._raw.form))

    @property
    def answer(self) -> bytes:
        """The beginning of the answer's body."""
        return self._hide_body(self._raw.answer, self._raw.answer_headers)

    def _hide(self, text: str) -> str:
        return mask_known(self._raw.find_known(), text)

    def _hide_headers(self, headers: Headers) -> Pairs:
        masking, items = self._raw.masking, list(headers)[:KEPT_HEADERS]
        return [(name, self._hide(masking.mask_header(name, value))[:KEPT_TEXT]) for name, value in items]

    def _hide_body(self, content: bytes, headers: Headers) -> bytes:
        shown = self._raw.masking.mask_body(_as_text(content), _read_media_type(headers))
        return self._hide(shown).encode("utf-8", "surrogateescape")

    @property
    def json(self) -> Any:
        """The request's body as JSON; raise ValueError where it is none, or longer than what is kept."""
        if self.cut:
            raise ValueError(f"request {self.number} has {self.size} bytes; the journal keeps {KEPT_OF_REQUEST}")
        return json.loads(self.content)

    def take(self, reply: Reply) -> None:
        """Note status, headers and the beginning of a body that does not stream."""
        self.status, self._raw.answer_headers = reply.status, reply.headers
        self._raw.forget_known()
        if isinstance(reply.body, bytes):
            self._raw.answer, self.answer_size = reply.body[:KEPT_OF_ANSWER], len(reply.body)
        elif isinstance(reply.body, Blob):
            self.answer_size = reply.body.size

    def note_upload(self, size: int, violations: list[Problem]) -> None:
        """Note what could only be seen of a request after it was passed on."""
        self.size, self.violations = size, [*self.violations, *violations]

    def forbid_answer(self, found: Sequence[Violation]) -> None:
        """Note what of an answer the contract forbids: the first hundred differences."""
        left = max(0, _KEPT_VIOLATIONS - len(self.answer_violations))
        if found[:left]:
            mask = partial(self._raw.masking.mask_quote, self._raw.find_known())
            self.answer_violations += [describe_violation(each, mask) for each in found[:left]]

    def note_form(self, form: Any) -> None:
        """Note the fields of a form."""
        self._raw.form = form
        self._raw.forget_known()

    def begin(self) -> StreamLog:
        """Note that the answer streams, and return where to note its pieces."""
        self.stream = StreamLog()
        self.stream.hide(self._raw.find_known_with)
        return self.stream

    def finish(self, delay_s: float = 0.0) -> None:
        """Note that the answer is complete, `delay_s` seconds from now."""
        self.duration_ms = round((self.elapsed_s + delay_s) * 1000, 1)

    @property
    def elapsed_s(self) -> float:
        """How long ago the request came."""
        return time.perf_counter() - self.began

    def settle(self) -> None:
        """Hide secrets in what is said about the request; all are known now."""
        told = self.because and self.by != "forward"  # which only names a server
        if self.violations or self.hints or told or self.failure:
            known = self._raw.find_known()
            self.violations, self.hints = known.mask_json(self.violations), known.mask_json(self.hints)
            self.because, self.failure = known.mask_json(self.because), known.mask_json(self.failure)

    def choose(self, by: str, because: str | None = None) -> None:
        """Note who chooses the scenario, and why."""
        self.by, self.because = by, because

    def forbid(self, found: Sequence[RequestViolation], refusal: Refusal) -> None:
        """Note what the contract forbids: all that validation found, else why the request was refused.

        An id that the world does not know is no violation: no contract says which ids there are.
        """
        if found:
            self.violations = list(map(describe_request_violation, found))
        elif refusal.words[-1] != "unknown-id":
            names = ("field", "message", "rule", "location")
            self.violations = [{name: refusal.violation[name] for name in names}]

    def as_json(self) -> dict[str, Any]:
        """Return it as `/__mock__/requests` shows it."""
        return {
            "number": self.number,
            "at": self.at,
            "world": self.world,
            "operation": self.operation,
            "request": {
                "method": self.method,
                "path": self.path,
                "query": self.query,
                "headers": self.headers,
                "bytes": self.size,
                "body": _decode(self.content) if self.form is None else self.form,
                "cut": self.cut,
            },
            "violations": self.violations,
            "answer_violations": self.answer_violations,
            "hints": self.hints,
            "scenario": self.scenario,
            "by": self.by,
            "because": self.because,
            "faults": self.faults,
            "status": self.status,
            "answer": self._describe_answer(),
            "failure": self.failure,
            "duration_ms": self.duration_ms,
        }

    def as_record(self) -> dict[str, Any]:
        """Return it as JSON that `of_record` reads: everything that is kept, and nothing that is masked."""
        record = {name: getattr(self, name) for name in _RECORDED}
        record |= {"path": self.path, "query": self.query, "form": self.form}
        record |= {"headers": self.headers, "answer_headers": self.answer_headers}
        record |= {"content": self.content.decode("latin-1"), "answer": self.answer.decode("latin-1")}
        return {**record, "stream": self.stream and self.stream.as_record()}

    @classmethod
    def from_record(cls, record: dict[str, Any], masking: Masking) -> Entry:
        """Return the entry that `as_record` was asked of."""
        given = dict(record)
        raw = Raw(
            given.pop("path"),
            given.pop("query"),
            Headers([(name, value) for name, value in given.pop("headers")]),
            given.pop("content").encode("latin-1"),
            masking,
            given.pop("form"),
            Headers([(name, value) for name, value in given.pop("answer_headers")]),
            given.pop("answer").encode("latin-1"),
        )
        stream = given.pop("stream")
        given["stream"] = stream and StreamLog.from_record(stream)
        given["faults"] = tuple(given["faults"])
        return cls(_raw=raw, **given)

    def _describe_answer(self) -> dict[str, Any]:
        if self.stream is not None:
            return {"headers": self.answer_headers, "stream": self.stream.as_json()}
        cut = self.answer_size > len(self.answer)
        return {"headers": self.answer_headers, "bytes": self.answer_size, "body": _decode(self.answer), "cut": cut}


def _read_media_type(headers: Headers) -> str:
    return headers.get("Content-Type", "")


def _as_text(content: bytes) -> str:
    """Return a body as text from which the same bytes can be made again."""
    return content.decode("utf-8", "surrogateescape")


def _decode(content: bytes) -> str:
    return content.decode("utf-8", "backslashreplace")


def describe_request_violation(found: RequestViolation) -> Problem:
    """Return a violation with what the contract expects, what came, and the lines that say so."""
    difference = found.violation
    source = list(difference.source)
    return {**found.as_mapping(), "expected": difference.expected, "got": difference.got, "source": source}


def describe_violation(found: Violation, mask: Callable[[str], str]) -> Problem:
    """Return a violation of an answer: rule, event (from 1, None outside a stream), where, expected, got, source.

    ``mask``  hides the secrets in what it quotes
    """
    place = f"event {found.event}: " if found.event is not None else ""
    expected, got = mask(found.expected), mask(found.got)
    message = f"{place}{found.rule}: expected {expected}; got {got}"
    return {
        "message": " ".join(message.split()),
        "rule": found.rule,
        "event": found.event,
        "where": mask(found.where),
        "expected": expected,
        "got": got,
        "source": list(found.source),
        "tier": str(found.tier),
    }


_RECORDED = tuple(each.name for each in fields(Entry) if each.name not in ("_raw", "stream", "began"))
