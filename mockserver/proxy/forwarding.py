"""One request that passes: what becomes of its answer, piece by piece, and what is noted of both."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowcontract.errors import StateError
from flowcontract.provenance.evidence import fails
from flowcontract.scenarios import Piece
from flowcontract.streams.sse import Decoder
from mockserver.faults import FaultError
from mockserver.http.failures import complain
from mockserver.http.live import ChangedStream, LiveStream
from mockserver.http.messages import AbortConnection, PlainHeaders, Reply, join_fields
from mockserver.journal.entry import KEPT_OF_ANSWER
from mockserver.proxy.changing import MOST_CHANGED, as_piece, change_stream, change_whole, make_context
from mockserver.proxy.headers import end_to_end
from mockserver.proxy.judging import KEPT_OF_BODY, AnswerJudge, Unpacker, build_broken_off, count_failing
from mockserver.proxy.problems import explain_forbidden_answer, explain_missing_answer
from mockserver.scenarios.selection import make_no_fault

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from flowcontract.recordings.jsonl import How
    from flowcontract.schemas.violations import Violation
    from mockserver.core.mock import Mock
    from mockserver.core.passing import Passed
    from mockserver.http.forwarding import AnswerHead, Break, Failure, Outgoing
    from mockserver.http.messages import End
    from mockserver.proxy.recording import RecordedExchange
    from mockserver.proxy.summary import Summary

_SANDBOX = ("Content-Security-Policy", "sandbox")
"""Of what a browser shows as a page: no script of the server's may ask `/__mock__`, which has the same origin."""
_HELD = 64 << 20
"""Bytes of a whole answer that a fault is to change."""
_HOW: dict[str, How] = {"close": "cut", "reset": "cut", "timeout": "timeout", "gone": "gone"}


@dataclass(frozen=True, slots=True)
class Office:
    """What all requests share that pass: the mock whose journal has them, and where what was wrong is counted.

    ``changed``  has a place for each stream that faults may change at once
    ``enforce``  how a stream ends at its first violation: `error` or `cut`; '' where it goes on
    """

    mock: Mock
    summary: Summary
    changed: threading.BoundedSemaphore
    enforce: str = ""


class Forwarding:
    """A Forward: is told what comes back, and tells the client, the judge, the journal and the recording."""

    def __init__(self, office: Office, passed: Passed, outgoing: Outgoing, recorded: RecordedExchange | None) -> None:
        """Pass a request on."""
        self.outgoing = outgoing
        self._office, self._passed, self._recorded = office, passed, recorded
        self._entry = passed.entry
        self._cancel: Callable[[], None] = _ignore
        self._flow: Callable[[bool], None] = _ignore
        self._judge: AnswerJudge | None = None
        self._unpacker = Unpacker("")
        self._stream: LiveStream | ChangedStream | None = None
        self._decoder: Decoder | None = None  # where faults change the events
        self._held: bytearray | None = None  # where faults change the whole body
        self._withheld: Reply | None = None  # until all of it is judged
        self._reply: Reply | None = None
        self._kept = bytearray()
        self._size = 0
        self._over = self._server_wrong = self._too_large = False
        self.before_answer: Callable[[], None] = _ignore

    def begin(self, flow: Callable[[bool], None], cancel: Callable[[], None]) -> None:
        """Take what controls the server's side."""
        self._flow, self._cancel = flow, cancel

    def withdraw(self) -> bool:
        """Forget that the request was passed on, since the mock is asked after all; tell whether it is in time."""
        if self._over or self._judge is not None:
            return False
        self._over = True
        return True

    # What comes back

    def answer(self, head: AnswerHead) -> Reply | None:
        """Begin to judge, to record and to pass on."""
        self.before_answer()
        headers = PlainHeaders(end_to_end(head.headers))
        fields = join_fields(headers)
        visit, validated = self._passed.visit, self._passed.validated
        operation = visit.operation if self._passed.known else None
        refused = validated is not None and validated.refusal is not None
        self._judge = AnswerJudge(visit.api, operation, head.status, fields, refused=refused)
        self._unpacker = Unpacker(fields.get("content-encoding", ""))
        if head.bodiless:
            self._unpacker.readable = False
        if self._recorded is not None:
            self._recorded.write_response(time.time(), head.status, list(headers))
        if visit.routed.request.fields.get("sec-fetch-mode") == "navigate":
            headers = PlainHeaders([*headers, _SANDBOX])
        self._note_usage(head.status)
        reply = self._reply = Reply(head.status, headers, separate=True, reason=head.reason, forward=self)
        self._mark_preference(reply)
        if self._office.enforce and count_failing(self._judge.judge_head()):
            self._conclude("cut")
            self._cancel()
            return self._refuse_answer()
        begun = self._begin_body(reply, bodiless=head.bodiless)
        return None if begun is reply and self._withhold(reply) else begun

    def feed(self, data: bytes) -> Reply | None:
        """Pass a piece on, then judge and record it; under `--enforce` judge it first."""
        now = time.monotonic()
        plain = self._unpacker.feed(data)
        self._size += len(data)
        self._kept += data[: max(0, KEPT_OF_ANSWER - len(self._kept))]
        if self._office.enforce and self._judge is not None and self._judge.contract is not None:
            if self._judge_piece(plain, now):
                self._end_by_force()
            else:
                self._pass(data, plain)
            return None
        self._pass(data, plain)
        self._judge_piece(plain, now)
        if self._withheld is None or self._size <= KEPT_OF_BODY:
            return None
        self._note_unjudged()
        self._flow(False)
        return self._release()

    def finish(self) -> Reply | None:
        """End the answer; return it where faults had to wait for all of it."""
        self._conclude("complete")
        whole = self._held is not None or self._withheld is not None
        if whole and self._office.enforce and self._server_wrong:
            return self._refuse_answer()
        if self._held is not None:
            return self._change_whole()
        reply = self._release() if self._withheld is not None else None
        if self._stream is not None:
            self._flush_events()
            self._stream.finish()
        self._settle()
        return reply

    def break_off(self, how: Break) -> Reply | None:
        """End an answer that broke off, in the same way."""
        if self._over:
            return None
        self._conclude(_HOW[how], [] if how == "gone" else [build_broken_off(how)])
        if self._withheld is not None and how != "gone":
            return self._refuse_answer()
        if self._stream is not None and how != "gone":
            self._flush_events()
            self._stream.break_off(AbortConnection("reset" if how == "reset" else "close"))
        self._settle()
        if self._too_large:
            return self._make_problem(
                "broken", f"A fault needs the whole answer, which has more than {_HELD >> 20} MB."
            )
        if self._held is None or how == "gone":
            return None
        return self._make_problem("broken", "The server's answer broke off before it could be changed as asked for.")

    def fail(self, why: Failure, detail: str) -> Reply:
        """Tell the client, in the proxy's own words, that there is no answer."""
        self.before_answer()
        if not self._over:
            self._over = True
            if why != "gone":
                self._office.summary.note("proxy", self._name, [detail])
            self._note_client()
            if self._recorded is not None:
                how: How = "timeout" if why == "late" else "gone" if why == "gone" else "cut"
                self._recorded.end(time.time(), how, _add_side("client", self._entry.violations))
        return self._make_problem(why, detail)

    # Towards the client

    def _begin_body(self, reply: Reply, *, bodiless: bool) -> Reply | None:
        """Return the reply that begins now; None where a fault needs the whole body."""
        asked, judge = self._passed.faults, self._judge
        assert judge is not None
        if asked and judge.contract is None:
            self._held = bytearray()
            return None
        stream: LiveStream | ChangedStream = LiveStream()
        if asked and judge.contract is not None:
            if not self._office.changed.acquire(blocking=False):
                return self._refuse_change()
            self._decoder = Decoder(judge.contract.framing)
            stream = ChangedStream()
            stream.on_done = self._office.changed.release
        self._stream = reply.body = stream
        stream.on_flow = self._flow
        stream.on_end = self._note_client_end
        if asked:
            try:
                change_stream(self._office.mock, self._passed, reply)
            except FaultError as error:
                return self._refuse_fault(error)
        if judge.contract is not None:
            reply = self._office.mock.journal.close(self._entry, reply)
        elif bodiless and isinstance(stream, LiveStream):
            stream.finish()  # before somebody closes it unread
        return reply

    def _pass(self, data: bytes, plain: bytes) -> None:
        """Send a piece as it came; faults get the events in it."""
        if self._held is not None:
            self._held += data
            if len(self._held) > _HELD:
                self._too_large = True
                self._cancel()
        elif isinstance(self._stream, LiveStream):
            self._stream.put(data)
        elif self._stream is not None and self._decoder is not None:
            for block in self._decoder.feed(plain):
                self._stream.put(as_piece(block))

    def _flush_events(self) -> None:
        if self._decoder is not None and isinstance(self._stream, ChangedStream):
            for block in self._decoder.close():
                self._stream.put(Piece(0, block.raw, None))

    def _change_whole(self) -> Reply | None:
        """Let faults change a whole body that has come."""
        reply = self._reply
        assert reply is not None
        assert self._held is not None
        reply.body = bytes(self._held)
        try:
            change_whole(self._office.mock, self._passed, reply)
        except FaultError as error:
            return self._refuse_fault(error)
        return self._office.mock.journal.close(self._entry, reply)

    def _refuse_fault(self, error: FaultError) -> Reply:
        """Answer that a fault does not fit, and leave the server alone."""
        stream, self._stream, self._held = self._stream, None, None
        self._over = True
        self._cancel()
        if stream is not None:
            stream.close()
        reply = make_no_fault(error, self._passed.visit.operation)
        self._end_recording("gone", [])
        return self._office.mock.journal.close(self._entry, reply)

    def _refuse_change(self) -> Reply:
        """Answer that too many streams are being changed, and leave the server alone."""
        self._conclude("gone")
        self._cancel()
        detail = f"{MOST_CHANGED} streams are being changed by faults, and no more can be. Ask again, or without one."
        reply = self._make_problem("crowded", detail)
        reply.headers["Retry-After"] = "1"
        return reply

    def _note_client_end(self, how: End) -> None:
        """Hear how it ended for the client; what still comes is for nobody then."""
        if how != "complete" or (isinstance(self._stream, ChangedStream) and not self._over):
            self._cancel()
        if self._judge is not None and self._judge.contract is not None:
            return
        if how in ("gone", "cut"):
            self._settle()

    def _end_by_force(self) -> None:
        """End a stream at its first violation: the piece that has it does not pass."""
        assert isinstance(self._stream, LiveStream | ChangedStream)
        self._conclude("cut")
        stream = self._stream
        if self._office.enforce == "error" and isinstance(stream, LiveStream):
            context = make_context(self._office.mock, self._passed)
            stream.put(context.make_event(dict(context.error())).data)
            stream.finish()
        else:
            stream.break_off(AbortConnection("close"))
        self._cancel()

    def _make_problem(self, why: str, detail: str) -> Reply:
        return self._office.mock.journal.close(self._entry, explain_missing_answer(self.outgoing.origin, why, detail))

    def _refuse_answer(self) -> Reply:
        """Answer in place of the server, whose answer the contract forbids."""
        assert self._reply is not None
        self._withheld = self._held = None
        refusal = explain_forbidden_answer(self.outgoing.origin, self._reply.status, self._entry)
        return self._office.mock.journal.close(self._entry, refusal)

    def _withhold(self, reply: Reply) -> bool:
        """Keep a whole answer back until it is judged, unless it is too large; under `--enforce`."""
        judge = self._judge
        if not self._office.enforce or not self._passed.known or judge is None or judge.contract is not None:
            return False
        announced = reply.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced) > KEPT_OF_BODY:
            self._note_unjudged()
            return False
        self._withheld = reply
        if self._stream is not None:
            self._stream.on_flow = _ignore
        return True

    def _release(self) -> Reply | None:
        """Let go of an answer that was kept back."""
        reply, self._withheld = self._withheld, None
        assert isinstance(self._stream, LiveStream)
        self._stream.on_flow = self._flow
        return reply

    def _note_unjudged(self) -> None:
        limit = f"more than {KEPT_OF_BODY >> 20} MB"
        self._entry.hints.append(f"--enforce: the answer has {limit} and passes; what is in it is not judged.")

    # Judging and noting

    @property
    def _name(self) -> str:
        return self._passed.visit.operation.name if self._passed.known else self._passed.visit.api.name

    def _judge_piece(self, plain: bytes, now: float) -> bool:
        """Judge and record a piece without its coding; return whether it breaks the contract."""
        if self._recorded is not None and plain:
            self._recorded.write_piece(time.time(), plain)
        if self._judge is None or not plain:
            return False
        found = self._judge.feed(plain, now)
        return bool(found) and self._forbid(found)

    def _forbid(self, found: Sequence[Violation]) -> bool:
        """Note violations of the answer; return whether there is one that counts."""
        self._entry.forbid_answer(found)
        counted = [each for each in found if fails(each.tier)]
        if counted:
            words = [" ".join(f"{each.rule}: expected {each.expected}; got {each.got}".split()) for each in counted]
            self._office.summary.note("server", self._name, words, again=self._server_wrong)
            self._server_wrong = True
        return bool(counted)

    def _conclude(self, how: How, more: Sequence[Violation] = ()) -> None:
        """Judge the end, and write it down, once."""
        if self._over:
            return
        self._over = True
        found = [*more]
        if self._judge is not None:
            whole = how == "complete"
            found += self._judge.close(time.monotonic(), whole=whole, readable=self._unpacker.readable)
        self._forbid(found)
        self._note_client()
        self._end_recording(how, self._entry.answer_violations)

    def _end_recording(self, how: How, found: Sequence[Any]) -> None:
        if self._recorded is not None:
            if self._size and not self._unpacker.readable:
                self._recorded.note_unreadable()
            sent = _add_side("client", self._entry.violations)
            self._recorded.end(time.time(), how, [*sent, *_add_side("server", found)])

    def _note_client(self) -> None:
        self._office.summary.count()
        self._office.summary.note("client", self._name, [each["message"] for each in self._entry.violations])

    def _settle(self) -> None:
        """Close the journal's entry of an answer that was no stream."""
        judge, reply = self._judge, self._reply
        if judge is None or reply is None or judge.contract is not None or self._entry.status is not None:
            return
        shown = Reply(reply.status, reply.headers, bytes(self._kept))
        self._office.mock.journal.close_passed(self._entry, shown, self._size)

    def _mark_preference(self, reply: Reply) -> None:
        preference = self._passed.preference
        if preference is not None and preference.by == "prefer":
            reply.headers["Preference-Applied"] = preference.describe_applied(None, preference.fault or "")

    def _note_usage(self, status: int) -> None:
        """Count that an operation has answered: scenarios may wait for that."""
        if not self._passed.known:
            return
        visit = self._passed.visit
        try:
            with visit.world.transaction():
                visit.world.usage.note(visit.operation.id, status)
        except StateError as error:
            complain(error)


def _add_side(whose: str, found: Sequence[Any]) -> list[dict[str, Any]]:
    """Return violations with the side that is to blame."""
    return [{"side": whose, **each} for each in found]


def _ignore(*_: object) -> None:
    """Do nothing: the default of callbacks."""
