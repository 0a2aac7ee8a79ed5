"""Judges an answer while it passes: what of it the contract forbids, and at which event."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

from flowcontract.provenance.evidence import Tier, fails
from flowcontract.schemas.media_types import find_media
from flowcontract.schemas.violations import Violation, cap_tier, rate
from flowcontract.streams.judge import StreamJudge
from flowcontract.validation.response import find_response_violations

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from flowcontract.specs.model import Api, Operation
    from flowcontract.streams.contract import StreamContract

KEPT_OF_BODY = 16 << 20
"""Bytes of a whole answer that are kept to be judged; a longer one is judged by its head alone."""
JUDGED_OF_STREAM = 16 << 20
"""Bytes of a stream that are judged; what comes after them passes unjudged, so that memory stays flat."""
_MOST_AT_ONCE = 1 << 20  # bytes that one compressed piece may unpack to
_SERVER_ERROR, _REFUSED = 500, 300
_OF_HEAD = ("status", "media-type", "required")
"""Rules that can be judged without the body."""


class Unpacker:
    """Undoes a content coding while the body passes (RFC 9110, 8.4.1).

    ``readable``  whether it can be undone; nothing comes out where it cannot
    """

    def __init__(self, codings: str) -> None:
        """Undo what `Content-Encoding` says."""
        names = [name.strip().lower() for name in codings.split(",") if name.strip()]
        names = [name for name in names if name != "identity"]
        self.readable = names in ([], ["gzip"], ["x-gzip"], ["deflate"])
        self.packed = bool(names)
        self._unpacker = zlib.decompressobj(47) if names and self.readable else None

    def feed(self, data: bytes) -> bytes:
        """Return what the next bytes stand for."""
        if self._unpacker is None:
            return data if self.readable else b""
        try:
            unpacked = self._unpacker.decompress(data, _MOST_AT_ONCE)
        except zlib.error:
            unpacked = b""
            self.readable = False
        if self._unpacker.unconsumed_tail or not self.readable:  # no text packs so well
            self.readable, self._unpacker = False, None
        return unpacked


class AnswerJudge:
    """Judges one answer.

    ``contract``    of the stream that it is; None for a whole body
    ``body``        what of a whole body is kept
    ``events``      how many have come of a stream
    """

    def __init__(
        self, api: Api, operation: Operation | None, status: int, headers: Mapping[str, str], *, refused: bool
    ) -> None:
        """Judge an answer with this head; `refused` if the request broke the contract, so that a refusal is right."""
        self._api, self._operation, self._status, self._headers = api, operation, status, headers
        self._refused = refused
        self.contract = _find_stream(operation, status, headers.get("content-type", ""))
        self.body = bytearray()
        self.events = 0
        self._size = 0
        self._stream = StreamJudge(self.contract) if self.contract else None

    def feed(self, data: bytes, now: float) -> list[Violation]:
        """Judge the next bytes, without their coding; `now` in seconds of a monotonic clock."""
        self._size += len(data)
        if self._stream is not None:
            if self._size > JUDGED_OF_STREAM:
                self._stream = None  # which remembers texts that have to agree later
                return []
            found = self._stream.feed(data, now)
            self.events = self._stream.count
            return self._rate(found)
        if self.contract is None:
            self.body += data[: max(0, KEPT_OF_BODY - len(self.body))]
        return []

    def close(self, now: float, *, whole: bool, readable: bool) -> list[Violation]:
        """Judge the end; what broke off is not judged for what is missing."""
        if self._operation is None:
            return []
        found: list[Violation] = []
        if self._stream is not None and readable:
            found += self._stream.close(now) if whole else self._stream.feed(b"", now)
            self.events = self._stream.count
        known = whole and readable and self._size <= KEPT_OF_BODY
        body = bytes(self.body) if known and self.contract is None else b""
        self.body, self._stream = bytearray(), None  # it is referred to until garbage is collected, which may be long
        return self._rate([*found, *self._judge_answer(self._operation, body, known=known)])

    def judge_head(self) -> list[Violation]:
        """Judge what the head tells alone; `close` finds it, too."""
        return [] if self._operation is None else self._rate(self._judge_answer(self._operation, b"", known=False))

    def _judge_answer(self, operation: Operation, body: bytes, *, known: bool) -> Iterator[Violation]:
        """Yield what is wrong with status, headers and, where it is `known`, the body."""
        response = operation.responses.get(self._status)
        if self._status >= _SERVER_ERROR and response is not None and response.observed:
            words = f"{self._status}, which only a server has that failed"
            yield Violation("status", "an answer", words, source=response.provenance, tier=Tier.SERVER_ERROR)
        for found in find_response_violations(self._api.validators, operation, self._status, self._headers, body):
            if known or found.rule in _OF_HEAD:
                yield self._weigh(found)

    def _rate(self, found: Iterable[Violation]) -> list[Violation]:
        return rate(found, self._api.rulings)

    def _weigh(self, violation: Violation) -> Violation:
        """Lower what a status that no document has rests on: nobody but the server knows whether a key is right."""
        if violation.rule != "status":
            return violation
        if self._status >= _SERVER_ERROR:
            return replace(violation, tier=Tier.SERVER_ERROR)
        return cap_tier(violation, Tier.OBSERVED) if self._status >= _REFUSED or self._refused else violation


def count_failing(found: Iterable[Violation]) -> int:
    """Return how many violations make a run fail, as in `contract-tests`; the others are told as notes."""
    return sum(fails(violation.tier) for violation in found)


def build_broken_off(how: str) -> Violation:
    """Return the violation of an answer that broke off in its middle."""
    words = {"close": "it was closed", "reset": "it was reset", "timeout": "the server was silent for too long"}
    got = f"the connection broke off: {words.get(how, how)}"
    return Violation("answer", "an answer that comes to its end", got, tier=Tier.SERVER_ERROR)


def _find_stream(operation: Operation | None, status: int, content_type: str) -> StreamContract | None:
    response = operation.responses.get(status) if operation else None
    name = find_media(response.media, content_type) if response else None
    return response.media[name].stream if response and name else None
