"""One HTTP/1.1 connection on an event loop: requests are parsed, answered by the application in their order, written.

It does what an ASGI server and the ASGI adapter do together, without a task, an event and a dictionary per message.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from mockserver.blobs.blob import Blob
from mockserver.http.failures import tell
from mockserver.http.messages import Request
from mockserver.server.adapter import answer
from mockserver.server.reply_writer import CONTINUE, ReplyWriter
from mockserver.server.request_parser import ContinueExpected, ParsedRequest, RequestParser
from mockserver.server.states import Answering, Reading, move
from mockserver.server.transfer import ALONE, LARGEST
from mockserver.server.upstream import Exchange

if TYPE_CHECKING:
    from mockserver.http.incoming import BodyError
    from mockserver.http.messages import AbortConnection, Capability, Reply
    from mockserver.server.request_parser import Refusal
    from mockserver.server.shared import Shared

CAPABILITIES: frozenset[Capability] = frozenset({"pieces", "close", "reset", "forward"})
_QUEUE_LIMIT = 32  # requests that a client may send ahead of their answers
_LARGE = 1 << 20  # bytes of a body that is parsed in a thread, so that streams go on meanwhile
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST
_NO_REQUEST = ParsedRequest(Request("GET", ""), keep_alive=False, chunks=False)
"""What is answered where what came is no request."""
IDLE, QUEUED, ASKING, DELAYED, SENDING, CLOSING, CLOSED = Answering
"""Before Python 3.12, looking up a member of an enum costs as much as a call."""
_NOT_WAITING = (IDLE, CLOSING, CLOSED)
_OVER = (CLOSING, CLOSED)


class Connection(asyncio.Protocol):
    """Joins a parser, the application and a writer: requests are answered one after another, in their order.

    ``silent_since``  when the client was last heard, in seconds of the slow clock; infinite while it waits for us
    """

    _transport: asyncio.Transport
    _parser: RequestParser
    _writer: ReplyWriter

    def __init__(self, shared: Shared, begun: bytes = b"") -> None:
        """Wait for `connection_made`, and begin with what another worker has read."""
        self._begun = begun
        self._whole = b""  # what has come of the next request, while it may be handed over
        self.silent_since: float = shared.seconds
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._state = IDLE
        self._queue: deque[ParsedRequest] = deque()
        self._current = _NO_REQUEST  # what is being answered
        self._delayed: Reply | None = None  # while the state is DELAYED
        self._timer: asyncio.TimerHandle | None = None
        self._exchange: Exchange | None = None  # with another server, which answers instead
        self._unread: set[str] = set()  # why no more is read for now

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        peer = (transport.get_extra_info("peername") or [""])[0]
        app, heads = self._shared.app, self._shared.heads
        self._parser = RequestParser(app.max_upload, peer, CAPABILITIES, heads, app.wants_body_later)
        self._writer = ReplyWriter(self._transport, self._loop, finish=self._finish, abort=self._abort)
        self._shared.connections.add(self)
        if self._begun:
            self._receive(self._begun)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Stop whatever was going on."""
        self._shared.connections.discard(self)
        self._stop(CLOSED)

    def data_received(self, data: bytes) -> None:
        """Parse the bytes, and answer the first request of them now if nothing else is being answered."""
        if self._state in _OVER:
            return
        if self._shared.transfers is not ALONE:
            self._remember(data)
        self._receive(data)

    def _remember(self, data: bytes) -> None:
        """Keep what comes of one request, from its first byte on, while it is small enough to be handed over."""
        if self._state is not IDLE or len(self._whole) + len(data) > LARGEST:
            self._whole = b""
        elif self._whole or self._parser.state is Reading.IDLE:
            self._whole += data

    def _receive(self, data: bytes) -> None:
        if self._state is IDLE:
            self.silent_since = self._shared.seconds
        first = True
        events = self._parser.feed(data)
        if len(events) > 1 or (events and self._parser.state is not Reading.IDLE):
            self._whole = b""
        for event in events:
            if self._state in _OVER:
                return
            if isinstance(event, ParsedRequest):
                self._enqueue(event, at_once=first)
                first = False
            elif not isinstance(event, ContinueExpected):
                self._refuse(event, alone=first)
            elif self._state is IDLE:
                self._transport.write(CONTINUE)

    def eof_received(self) -> bool:
        """Answer even a request that broke off, for the client may still read; return whether to stay open for it."""
        for event in self._parser.end():
            if self._state not in _OVER and isinstance(event, ParsedRequest):
                self._enqueue(event, at_once=True)
        return self._state not in _NOT_WAITING

    def pause_writing(self) -> None:
        """Write no more until the client has read something."""
        self._writer.full = True
        self.silent_since = self._shared.seconds

    def resume_writing(self) -> None:
        """Go on writing: the client has read."""
        self._writer.full = False
        self.silent_since = self._shared.seconds if self._state in _NOT_WAITING else float("inf")
        if self._state is SENDING:
            self._writer.resume()
        elif self._state is QUEUED:
            self._loop.call_soon(self._take_turn)

    # A request's way: enqueue, take its turn, ask the application, delay, send, finish

    def _enqueue(self, parsed: ParsedRequest, *, at_once: bool) -> None:
        """Add a request to the queue; answer it `at_once` if it is alone and the client reads its answers."""
        self._queue.append(parsed)
        if parsed.request.incoming is not None:
            parsed.request.incoming.on_flow = lambda may: self._read(may, "body")
            parsed.request.incoming.on_recall = self._wait_for_whole
        if self._state is IDLE:
            if at_once and not self._writer.full:
                self._ask()
            else:
                self._line_up()
        if len(self._queue) >= _QUEUE_LIMIT:
            self._read(False, "queue")

    def _read(self, may: bool, why: str) -> None:
        """Read on, or not, for one of several reasons."""
        was_reading = not self._unread
        self._unread.discard(why) if may else self._unread.add(why)
        if was_reading == (not self._unread) or self._transport.is_closing():
            return
        self._transport.pause_reading() if self._unread else self._transport.resume_reading()

    def _line_up(self) -> None:
        """Give other clients a turn before the next request, and this client time to read."""
        self._state = move(self._state, QUEUED)
        if not self._writer.full:
            self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        if self._state is QUEUED and not self._writer.full:
            self._ask()

    def _ask(self) -> None:
        """Ask the application for the reply to the next request."""
        self._state = move(self._state, ASKING)
        self._current = self._queue.popleft()
        self.silent_since = float("inf")
        if len(self._queue) == _QUEUE_LIMIT - 1:
            self._read(True, "queue")
        self._ask_for_reply()

    def _ask_for_reply(self) -> None:
        request = self._current.request
        if request.body.size > _LARGE:
            asked = self._loop.run_in_executor(None, self._ask_in_thread, request, self._shared.clock())
            asked.add_done_callback(lambda done: self._take_reply(reply) if (reply := done.result()) else None)
        else:
            self._shared.ask(request, self._take_reply, self._transfer)

    def _transfer(self, place: int) -> bool:
        """Hand this connection over to another worker; tell whether that was possible."""
        connected, data = self._transport.get_extra_info("socket"), self._whole
        self._whole = b""
        if not data or connected is None or not self._shared.transfers.send(place, connected.fileno(), data):
            return False
        self._stop(CLOSING)
        self._transport.abort()  # closes only this worker's descriptor
        return True

    def _ask_in_thread(self, request: Request, now: float) -> Reply | None:
        """Return the reply, or None if the client has left while other requests kept the threads busy."""
        return None if self._transport.is_closing() else answer(self._shared.app, request, now)

    def _take_reply(self, reply: Reply) -> None:
        """Send the reply, or ask the server that it names."""
        if reply.forward is None or self._transport.is_closing():
            self._take_answer(reply)
            return
        incoming = self._current.request.incoming
        if incoming is not None and incoming.recalled:  # by what came together with the head
            self._wait_for_whole()
            return
        self._exchange = Exchange(self._shared.pool, reply.forward, send=self._take_answer, inform=self._inform)
        if reply.delay_s:
            self._timer = self._loop.call_later(reply.delay_s, self._exchange.start)
        else:
            self._exchange.start()

    def _wait_for_whole(self) -> None:
        """Have a request answered when it is whole that was being passed on."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()
        incoming = self._current.request.incoming
        if self._state is ASKING and incoming is not None:
            incoming.on_end = self._hear_whole
            if incoming.whole is not None:
                self._hear_whole()

    def _hear_whole(self) -> None:
        self._loop.call_soon(self._ask_again)  # not in the middle of what is being parsed

    def _ask_again(self) -> None:
        request = self._current.request
        if self._state is not ASKING or request.incoming is None:
            return
        incoming = request.incoming
        error: BodyError = incoming.copy_error or ("" if incoming.whole else "cut short")
        whole = replace(request, body=incoming.copy, body_error=error, incoming=None)
        keep_alive = self._current.keep_alive and bool(incoming.whole)
        self._current = self._current._replace(request=whole, keep_alive=keep_alive)
        self._ask_for_reply()

    def _inform(self, head: bytes) -> None:
        """Pass an informational answer on; clients of HTTP/1.0 know none (RFC 9110, 15.2)."""
        if self._state is ASKING and self._current.chunks and not self._transport.is_closing():
            self._transport.write(head)

    def _take_answer(self, reply: Reply) -> None:
        """Send an answer now or after its delay, unless the client has left meanwhile."""
        if self._state in _OVER or self._transport.is_closing():
            _discard(reply)
        elif reply.delay_s:
            self._state = move(self._state, DELAYED)
            self._delayed = reply
            self._timer = self._loop.call_later(reply.delay_s, self._send, reply)
        else:
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        self._state = move(self._state, SENDING)
        self._whole = b""
        self._timer = self._delayed = None
        if _is_unfinished(self._current.request):  # what is left of it cannot be told from the next one
            self._current = self._current._replace(keep_alive=False)
        request, keep_alive, chunks = self._current
        self._writer.send(
            reply,
            head_only=request.method == "HEAD",
            keep_alive=keep_alive,
            chunks=chunks,
            date=self._shared.date,
        )

    def _finish(self) -> None:
        """Go on after a complete reply: with the next request, by waiting for one, or by closing the connection."""
        self.silent_since = self._shared.seconds
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()  # which the server may not have ended yet, although the client has all it gets
        if not self._current.keep_alive:
            self._say_goodbye()
        elif self._queue:
            self._line_up()
        elif self._parser.state is Reading.ENDED:
            self._leave()
        else:
            self._state = move(self._state, IDLE)

    # Other ways to end

    def _refuse(self, refusal: Refusal, *, alone: bool) -> None:
        """Answer what is no request; `alone` where no request came together with it.

        Requests that came before it are answered first, and then the connection is closed without another word.
        """
        if self._queue:
            self._queue.append(self._queue.pop()._replace(keep_alive=False))
        elif self._state is not IDLE:
            self._reset()
        elif not alone and not refusal.has_target:  # the rest of a body that is longer than announced
            self._leave()
        else:
            if refusal.foreign:
                tell(f"Somebody at {self._parser.peer or 'an unknown address'} {refusal.foreign}.")
            self._current = _NO_REQUEST
            self._send(refusal.reply)

    def _abort(self, cut: AbortConnection) -> None:
        """End the connection in the middle of a reply, after everything that was due has been written."""
        if cut.how == "reset":
            self._reset()
        else:
            self._leave()

    def _say_goodbye(self) -> None:
        """Close, but let a client that is still sending read the answer first: closing would reset the connection."""
        if self._parser.mid_request:
            self._stop(CLOSING)
            self._transport.write_eof()
        else:
            self._leave()

    def _leave(self) -> None:
        """Close the connection when the client has read what was written."""
        self._stop(CLOSING)
        self._transport.close()

    def close(self) -> None:
        """Close the connection now, in whatever state; a client that does not read loses what was written."""
        if self._state not in _OVER:
            self._stop(CLOSING)
        self._transport.abort() if self._writer.full else self._transport.close()

    def _reset(self) -> None:
        """Close the connection so that the client sees it broken."""
        self._stop(CLOSING)
        connected: socket.socket | None = self._transport.get_extra_info("socket")
        if connected is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def _stop(self, state: Answering) -> None:
        """Enter one of the last two states; drop the requests that wait and what is left of a reply."""
        self._state = move(self._state, state)
        self._queue.clear()
        if self._unread and state is CLOSING:  # what still comes is read and dropped
            self._transport.resume_reading()
        self._unread.clear()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._delayed is not None:
            _discard(self._delayed)
        self._timer = self._delayed = None
        self._writer.discard()


def _discard(reply: Reply) -> None:
    """Let go of a reply that is not sent."""
    if not isinstance(reply.body, bytes | Blob):
        reply.body.close()


def _is_unfinished(request: Request) -> bool:
    """Tell whether a request is answered of which not all has come."""
    return request.incoming is not None and not request.incoming.whole
