"""One request to the server that a proxy stands before: what is sent, and what comes back, on one loop."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from mockserver.http.forwarding import AnswerHead
from mockserver.http.incoming import Incoming
from mockserver.server.pool import CONNECT_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockserver.http.forwarding import Break, Failure
    from mockserver.http.messages import Forward, Reply
    from mockserver.server.pool import Pool, ServerConnection

_HEAD_LIMIT = 256 << 10  # bytes of status lines and headers, those of informational answers and trailers included
_BODILESS = (204, 304)
_UPGRADED = 101
_FINAL = 200


class Exchange:
    """Sends a request on, and tells its Forward, and the client's connection, what comes back.

    ``send``    called with what the client gets, once
    ``inform``  called with an informational answer (1xx) for the client: the lines of its head
    """

    def __init__(
        self, pool: Pool, forward: Forward, *, send: Callable[[Reply], None], inform: Callable[[bytes], None]
    ) -> None:
        """Prepare to ask."""
        self._pool, self._forward, self._send, self._inform = pool, forward, send, inform
        self._outgoing = forward.outgoing
        self._loop = asyncio.get_running_loop()
        self._connection: ServerConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._over = self._answered = self._held = self._upload_over = False
        self._heard = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._status_seen = b""
        self._headers: list[tuple[str, str]] = []
        self._head_size = self._unread = 0
        self._understood = self.surplus = False
        forward.begin(self._let_server_send, self.cancel)

    @property
    def upload_unfinished(self) -> bool:
        """Whether the client is still sending its request."""
        body = self._outgoing.body
        return isinstance(body, Incoming) and body.whole is None

    def start(self) -> None:
        """Send the request, on a connection that is there or on a new one."""
        self._heard = self._loop.time()
        self._timer = self._loop.call_later(self._outgoing.silent_s, self._look)
        body = self._outgoing.body
        if isinstance(body, Incoming) and body.whole is False:
            self._note_client_broke_off()
            return
        found = self._pool.take(self._outgoing.origin, self._loop.time())
        if found is not None:
            self._ask(found)
        else:
            self._task = self._loop.create_task(self._connect())

    def cancel(self) -> None:
        """Want no more of it: the client has left, or gets something else."""
        if not self._over:
            self._leave()

    async def _connect(self) -> None:
        origin = self._outgoing.origin
        try:
            connection = await self._pool.connect(origin)
        except TimeoutError:
            self._fail_to_connect("late", f"{origin} did not accept a connection within {CONNECT_S:g} s")
        except (OSError, UnicodeError) as error:
            self._fail_to_connect("refused", f"{origin} cannot be reached: {_describe(error)}")
        else:
            if self._over:
                connection.close()
            else:
                self._ask(connection)

    def _fail_to_connect(self, why: Failure, detail: str) -> None:
        """Tell that the server cannot be reached; read the request to its end before where that is asked for."""
        body = self._outgoing.body
        if self._over:
            return
        if not isinstance(body, Incoming) or body.whole is not None or not self._outgoing.patient:
            self._fail(why, detail)
            return
        body.drop()
        body.on_data = lambda: self._fail_to_connect(why, detail)

    def _ask(self, connection: ServerConnection) -> None:
        self._connection = connection
        connection.begin(self)
        body = self._outgoing.body
        if isinstance(body, Incoming):
            connection.write(self._outgoing.head)
            body.on_data = self._pass_on
            self._pass_on()
        else:
            connection.write(self._outgoing.head + body)

    def _pass_on(self) -> None:
        """Send what has come of the request's body, piece by piece."""
        body, connection = self._outgoing.body, self._connection
        assert isinstance(body, Incoming)
        if self._over or connection is None or self._held or self._upload_over:
            return
        self._heard = self._loop.time()
        for piece in body.take():
            connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._outgoing.chunked else piece)
        if body.whole is False:
            self._note_client_broke_off()
        elif body.whole:
            self._upload_over = True
            if self._outgoing.chunked:
                connection.write(b"0\r\n\r\n")

    def hold_upload(self, *, hold: bool) -> None:
        """Let the client wait while the server does not read."""
        self._held = hold
        if not hold:
            self._pass_on_if_any()

    def _pass_on_if_any(self) -> None:
        if isinstance(self._outgoing.body, Incoming):
            self._pass_on()

    def _let_server_send(self, may: bool) -> None:
        """Let the server wait while the client does not read."""
        self._heard = self._loop.time()
        if self._connection is not None and not self._over:
            self._connection.let_server_send(may)

    def _look(self) -> None:
        """Give up a server that has been silent for too long."""
        due = self._heard + self._outgoing.silent_s
        now = self._loop.time()
        if self._over:
            return
        if now < due:
            self._timer = self._loop.call_later(due - now, self._look)
        elif self._answered:
            self._break_off("timeout")
        else:
            self._fail("late", f"{self._outgoing.origin} was silent for {self._outgoing.silent_s:g} s")

    # httptools calls these.

    def on_message_begin(self) -> None:
        """Begin an answer, be it an informational one."""
        self.surplus = self._over
        self._headers = []
        self._status_seen = b""

    def on_status(self, status: bytes) -> None:
        """Add to the reason phrase."""
        self._status_seen += status
        self._count(len(status))

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """Add a header; trailers are not passed on, as RFC 9110, 6.5.1 allows."""
        if not self._answered:
            self._headers.append((name.decode("latin-1"), value.decode("latin-1") if value else ""))
        self._count(len(name) + len(value or b""))

    def on_headers_complete(self) -> None:
        """Pass on an informational answer, or begin the answer."""
        self._heard = self._loop.time()
        self._understood = True
        connection = self._connection
        if self._over or connection is None:
            return
        status = connection.status
        reason = self._status_seen.decode("latin-1")
        if status == _UPGRADED:
            self._fail("unreadable", f"{self._outgoing.origin} switched to another protocol, which nobody asked for")
        elif status < _FINAL:
            lines = [f"HTTP/1.1 {status} {reason}\r\n", *(f"{name}: {value}\r\n" for name, value in self._headers)]
            self._inform("".join([*lines, "\r\n"]).encode("latin-1"))
            self._count(len(lines[0]))  # there may be any number of them
        else:
            bodiless = self._outgoing.method == "HEAD" or status in _BODILESS
            self._answered = True
            self._give(self._forward.answer(AnswerHead(status, reason, tuple(self._headers), bodiless)))
            if bodiless and not self._over:
                self._finish()

    def on_body(self, body: bytes) -> None:
        """Pass on the next piece."""
        self._heard = self._loop.time()
        self._understood = True
        if not self._over:
            self._give(self._forward.feed(body))

    def on_message_complete(self) -> None:
        """End the answer; informational ones end at once."""
        if self._answered and not self._over:
            self._finish()

    def count_unread(self, size: int) -> None:
        """Hear how many bytes came; llhttp tells of a header, and of the size of a chunk, only when it ends."""
        self._unread = 0 if self._understood else self._unread + size
        self._understood = False
        self._limit_head(self._unread)

    def _count(self, size: int) -> None:
        self._head_size += size
        self._limit_head(self._head_size)

    def _limit_head(self, size: int) -> None:
        """Give up a server whose headers do not end."""
        if size <= _HEAD_LIMIT or self._over:
            return
        if self._answered:
            self._break_off("close")
        else:
            self._fail("unreadable", f"{self._outgoing.origin} answered with more than {_HEAD_LIMIT} bytes of headers")

    # The connection calls these.

    def note_server_left(self, *, reset: bool) -> None:
        """Hear that the connection has ended."""
        connection, self._connection = self._connection, None
        if self._over:
            return
        if self._answered:
            if not reset and not _has_length(self._headers):
                self._finish()  # it ends with the connection (RFC 9112, 6.3)
            else:
                self._break_off("reset" if reset else "close")
        elif connection is not None and connection.used and self._outgoing.idempotent and not self._head_size:
            self._task = self._loop.create_task(self._connect())  # it was closed while it waited (RFC 9112, 9.3.1)
        else:
            how = "reset" if reset else "closed"
            self._fail("broken", f"{self._outgoing.origin} {how} the connection without an answer")

    def refuse_unreadable(self, detail: str) -> None:
        """Hear that what came is no HTTP."""
        if self._over:
            return
        if self._answered:
            self._break_off("close")
        else:
            self._fail("unreadable", f"{self._outgoing.origin} did not answer with HTTP/1.1: {detail}")

    # Ways to end

    def _finish(self) -> None:
        connection = self._connection
        unfinished = self.upload_unfinished
        self._end()
        if connection is not None:
            if connection.keeps_alive() and not unfinished and self._outgoing.method != "HEAD":
                connection.end()
                self._pool.give_back(self._outgoing.origin, connection, self._loop.time())
            else:
                connection.close()
        self._give(self._forward.finish())

    def _break_off(self, how: Break) -> None:
        self._leave_quietly()
        self._give(self._forward.break_off(how))

    def _fail(self, why: Failure, detail: str) -> None:
        self._leave_quietly()
        self._give(self._forward.fail(why, detail))

    def _note_client_broke_off(self) -> None:
        """End an exchange whose request will never be whole."""
        if self._answered:
            self._leave()
        else:
            self._fail("gone", "The request ended before its announced length.")

    def _leave(self) -> None:
        """End the exchange for a client that has left."""
        self._leave_quietly()
        self._give(self._forward.break_off("gone"))

    def _leave_quietly(self) -> None:
        connection = self._connection
        self._end()
        if connection is not None:
            connection.close()

    def _end(self) -> None:
        self._over = True
        self._connection = None
        if self._timer is not None:
            self._timer.cancel()
        body = self._outgoing.body
        if isinstance(body, Incoming):
            body.drop()

    def _give(self, reply: Reply | None) -> None:
        if reply is not None:
            self._send(reply)


def _has_length(headers: list[tuple[str, str]]) -> bool:
    """Tell whether the end of a body is told by something else than that of the connection."""
    names = {name.lower() for name, _ in headers}
    return bool(names & {"content-length", "transfer-encoding"})


def _describe(error: Exception) -> str:
    """Return why a connection could not be made, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
