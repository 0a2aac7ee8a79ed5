"""A worker's way to Redis: asking and being told, staying known as alive, saying in one line what is wrong."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcontract.errors import StateError, StateUnreachableError, StateUnwritableError

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError:
    raise StateError(
        "To share worlds through Redis its client has to be installed. In the checkout: pip install '.[redis]'."
    ) from None

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "flowcontract:1:"
"""What the names of all our keys begin with; the number is that of the form in which worlds are kept."""
LIFE_S = 10
"""A worker of which nothing was heard for so long is dead: what it held is free, its runs have failed."""
_BEAT_S = 2.0
_CONNECT_S = 3.0
_ANSWER_S = 5.0
_NO_ROOM = (redis.exceptions.OutOfMemoryError, redis.exceptions.ReadOnlyError)
_SCRIPTS = ("begin", "commit", "give_back", "reset", "part", "take", "write")
_HERE = Path(__file__).parent


def masked(url: str) -> str:
    """Return an address without user and password."""
    shown = re.sub(r"(?<=://)[^/?]*@", "***@", url)
    return re.sub(r"(?i)(username|password)=[^&]*", r"\1=***", shown)


class Link:
    """One worker's connections to Redis. May be used from several threads, and before the process is forked.

    ``on_beat``  called every two seconds, in a thread, as long as this worker is alive
    ``worker``  the name by which the others know this worker; it changes when Redis was out of reach for a while
    """

    def __init__(self, url: str) -> None:
        """Connect; raise StateError where that is not possible."""
        self.shown = masked(url)
        self._lost = False
        self._silent = False  # did not answer in time; only the thread asks again, so that nobody else waits for it
        self._next_beat = 0.0
        self._family = uuid.uuid4().hex[:12]
        self._numbers = itertools.count(1)
        self._heard: Callable[[str, str], None] = lambda _world, _task: None
        self.on_beat: Callable[[], None] = lambda: None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._name()
        try:
            self._client = redis.Redis.from_url(
                url,
                socket_connect_timeout=_CONNECT_S,
                socket_timeout=_ANSWER_S,
                # a connection from before Redis was started anew fails once; who does not answer is not asked again
                retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            )
        except (redis.RedisError, ValueError) as error:
            raise StateError(f"--state {self.shown} is no address of Redis: {masked(str(error))}.") from None
        shared = (_HERE / "forget.lua").read_text("utf-8")
        self._scripts = {
            name: self._client.register_script(shared + (_HERE / f"{name}.lua").read_text("utf-8")) for name in _SCRIPTS
        }
        self.ask("ping")

    def ask(self, command: str, *values: Any) -> Any:
        """Send a command of the client, or of several at once; raise StateError."""
        return self.call(lambda client: getattr(client, command)(*values))

    def call(self, use: Callable[[redis.Redis], Any]) -> Any:
        """Let `use` do something with the client; raise StateError where it cannot."""
        if self._silent and self._thread is not None and threading.current_thread() is not self._thread:
            raise StateUnreachableError(
                f"Redis at {self.shown} has not answered for {_ANSWER_S:.0f} s. Mend it, or name another with --state."
            )
        try:
            return use(self._client)
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            self._lost = True
            self._silent = isinstance(error, redis.TimeoutError)
            raise StateUnreachableError(
                f"Redis cannot be reached at {self.shown} ({_describe(error)}). Start it, or name another with --state."
            ) from None
        except _NO_ROOM as error:
            raise StateUnwritableError(f"Redis at {self.shown} takes nothing more: {_describe(error)}.") from None
        except redis.RedisError as error:
            self._lost = True
            raise StateUnreachableError(f"Redis at {self.shown} refuses: {_describe(error)}.") from None

    def run(self, script: str, *values: Any, keys: tuple[str, ...] = ()) -> Any:
        """Run a script, at once and as a whole; raise StateError."""
        return self.call(lambda client: self._scripts[script](keys=list(keys), args=list(values), client=client))

    def token(self) -> str:
        """Return what tells one transaction of this worker from all others."""
        return f"{self.worker} {next(self._numbers)}"

    def lose(self) -> None:
        """Note that something was not written that should have been: who ran here is known as dead from now on."""
        self._lost = True

    def publish(self, world: str, task: str) -> None:
        """Tell all workers that a task is to be stopped."""
        self.ask("publish", f"{PREFIX}stop", json.dumps([world, task]))

    def start(self, heard: Callable[[str, str], None]) -> None:
        """Begin to be alive, and to hear which tasks are to be stopped: `heard` gets world and task in a thread."""
        self._heard = heard
        if self._thread is None or not self._thread.is_alive():
            self._name()  # of this process, which may have been forked
            self._next_beat = 0.0
            self._ended.clear()
            ready = threading.Event()
            self._thread = threading.Thread(target=self._live, args=(ready,), name="shared-state", daemon=True)
            self._thread.start()
            ready.wait(_CONNECT_S)

    def living(self) -> frozenset[str]:
        """Return the names of the workers that are alive."""
        names = self.ask("zrangebyscore", f"{PREFIX}workers", self.ask("time")[0], "+inf")
        return frozenset(name.decode() for name in names)

    def bury(self, process: int) -> None:
        """Let all workers know that a child of this process is dead, so that nobody waits for it."""
        for name in self.ask("zrange", f"{PREFIX}workers", 0, -1):
            if name.decode().startswith(f"{self._family}-{process}-"):
                self.ask("zrem", f"{PREFIX}workers", name)

    def close(self) -> None:
        """Stop being alive."""
        if self._thread is not None and self._thread.is_alive():
            self._ended.set()
            self._thread.join()
            with contextlib.suppress(StateError):
                self.ask("zrem", f"{PREFIX}workers", self.worker)
        self._client.close()

    def _name(self) -> None:
        self.worker = f"{self._family}-{os.getpid()}-{next(self._numbers)}"

    def _live(self, ready: threading.Event) -> None:
        """Beat, and listen, until the end; begin again under another name where Redis was lost in between."""
        while not self._ended.is_set():
            try:
                with self._client.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
                    channel.subscribe(f"{PREFIX}stop")
                    self._next_beat = 0.0
                    self._beat()
                    ready.set()
                    self._listen(channel)
            except (redis.RedisError, OSError, StateError):
                self._lost = True
                self._ended.wait(_BEAT_S / 4)

    def _listen(self, channel: Any) -> None:
        while not self._ended.is_set():
            message = channel.get_message(timeout=0.2)
            if message is not None:
                with contextlib.suppress(StateError):
                    self._heard(*json.loads(message["data"]))
            self._beat()

    def _beat(self) -> None:
        """Say that this worker lives, if that has not been said for a while."""
        if self._lost:
            self._lost = False
            self.ask("zrem", f"{PREFIX}workers", self.worker)
            self._name()
        elif time.monotonic() < self._next_beat:
            return
        now = self.ask("time")[0]  # machines' clocks differ
        self._silent = False
        self.ask("zremrangebyscore", f"{PREFIX}workers", "-inf", now - 60)
        self.ask("zadd", f"{PREFIX}workers", {self.worker: now + LIFE_S})
        self._next_beat = time.monotonic() + _BEAT_S
        self.on_beat()


def _describe(error: BaseException) -> str:
    return " ".join(masked(str(error)).split()).rstrip(".") or type(error).__name__
