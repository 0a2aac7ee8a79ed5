"""A worker's way to Redis: asking and being told, staying known as alive, saying in one line what is wrong.

What workers say to each other are JSON lists on channels: `["ask", world]` to the one that holds a world, `["free",
world]` to the one that gets it, `["stop", world, task]` and `["know", key, what]` to all; who knows puts something into
the list `key`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import threading
import time
import uuid
from functools import partial
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
    from collections.abc import Callable, Sequence

PREFIX = "flowcontract:2:"
"""What the names of all our keys begin with; the number is that of the form in which worlds are kept."""
LIFE_S = 10
"""A worker of which nothing was heard for so long is dead: what it held is free, its runs have failed."""
_BEAT_S = 2.0
_CONNECT_S = 3.0
_ANSWER_S = 5.0
_NO_ROOM = (redis.exceptions.OutOfMemoryError, redis.exceptions.ReadOnlyError)
_KNOWN_S = 1  # how long other workers are waited for that are told something
_PAUSE_S = 0.2
_SCRIPTS = ("begin", "commit", "give_back", "let_go", "reset", "part", "take", "write")
_HERE = Path(__file__).parent


def mask_url(url: str) -> str:
    """Return an address without user and password."""
    shown = re.sub(r"(?<=://)[^/?]*@", "***@", url)
    return re.sub(r"(?i)(username|password)=[^&]*", r"\1=***", shown)


class Link:
    """One worker's connections to Redis. May be used from several threads, and before the process is forked.

    ``on_beat``  called every two seconds, in a thread, as long as this worker is alive
    ``worker``  the name by which the others know this worker; it changes when Redis was out of reach for a while
    ``alive``   the workers that are alive, as far as this one knows
    ``hears``   what is called in a thread with what others say, by its first word
    ``attend``  called in that thread again and again; returns after how many seconds it wants to be at the latest
    """

    worker: str

    def __init__(self, url: str) -> None:
        """Connect; raise StateError where that is not possible."""
        self.shown = mask_url(url)
        self._lost = False
        self._silent = False  # did not answer in time; only the thread asks again, so that nobody else waits for it
        self._next_beat = 0.0
        self._family = uuid.uuid4().hex[:12]
        self._numbers = itertools.count(1)
        self._place: int | None = None
        self.alive: frozenset[str] = frozenset()
        self.hears: dict[str, Callable[..., None]] = {}
        self.attend: Callable[[], float] = lambda: _PAUSE_S
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
            raise StateError(f"--state {self.shown} is no address of Redis: {mask_url(str(error))}.") from None
        shared = (_HERE / "forget.lua").read_text("utf-8")
        self._scripts = {
            name: self._client.register_script(shared + (_HERE / f"{name}.lua").read_text("utf-8")) for name in _SCRIPTS
        }
        self.alive = self.list_living()

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

    def run_all(self, scripts: Sequence[tuple[str, tuple[str, ...], Sequence[Any]]]) -> list[Any]:
        """Run scripts, by name, keys and values, in one pipeline; return results, or StateErrors of single ones."""
        if not scripts:
            return []
        results = self.call(lambda client: self._send(client, scripts))
        if any(isinstance(result, redis.exceptions.NoScriptError) for result in results):  # Redis was started anew
            self.call(lambda client: [client.script_load(each.script) for each in self._scripts.values()])
            results = self.call(lambda client: self._send(client, scripts))
        return [self._read(result) for result in results]

    def _send(self, client: redis.Redis, scripts: Sequence[tuple[str, tuple[str, ...], Sequence[Any]]]) -> list[Any]:
        with client.pipeline(transaction=False) as pipeline:
            for name, keys, values in scripts:
                command = ("EVALSHA", self._scripts[name].sha, len(keys), *keys, *values)
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            return pipeline.execute(raise_on_error=False)

    def _read(self, result: Any) -> Any:
        """Return a result, or the StateError that says what was wrong."""
        if not isinstance(result, Exception):
            return result
        try:
            self.call(partial(_throw, result))
        except StateError as error:
            return error
        raise AssertionError(result)

    def mark(self) -> str:
        """Return what tells one commit of this worker from all others."""
        return f"{self.worker} {next(self._numbers)}"

    def lose(self) -> None:
        """Note that something was not written that should have been: who ran here is known as dead from now on."""
        self._lost = True

    def publish(self, world: str, task: str) -> None:
        """Tell all workers that a task is to be stopped."""
        self.ask("publish", f"{PREFIX}all", json.dumps(["stop", world, task]))

    def tell(self, what: str) -> None:
        """Let all workers know something; return when they do, but for those that are silent."""
        key = f"{PREFIX}known:{uuid.uuid4().hex}"
        for _ in range(self.ask("publish", f"{PREFIX}all", json.dumps(["know", key, what]))):
            if self.ask("blpop", key, _KNOWN_S) is None:
                return

    def join(self, place: int) -> None:
        """Be the worker at a place among those of this program: others may hand connections over to it."""
        self._place = place
        self._name()

    @property
    def siblings(self) -> str:
        """What the names of the workers begin with to whom connections can be handed over; '' where there are none."""
        return "" if self._place is None else self._family

    def get_place(self, worker: str) -> int:
        """Return the place of a sibling."""
        return int(worker.split("-")[2])

    def start(self) -> None:
        """Begin to be alive, and to hear what others say."""
        if self._thread is None or not self._thread.is_alive():
            self._name()  # of this process, which may have been forked
            self._next_beat = 0.0
            self._ended.clear()
            ready = threading.Event()
            self._thread = threading.Thread(target=self._live, args=(ready,), name="shared-state", daemon=True)
            self._thread.start()
            ready.wait(_CONNECT_S)

    def list_living(self) -> frozenset[str]:
        """Return the names of the workers that are alive."""
        names = self.ask("zrangebyscore", f"{PREFIX}workers", self.ask("time")[0], "+inf")
        return frozenset(name.decode() for name in names)

    def bury(self, process: int) -> None:
        """Let all workers know that a child of this process is dead, so that nobody waits for it."""
        for name in self.ask("zrange", f"{PREFIX}workers", 0, -1):
            if name.decode().startswith(f"{self._family}-{process}-"):
                self.ask("zrem", f"{PREFIX}workers", name)
        self.tell("gone")

    def close(self) -> None:
        """Stop being alive."""
        if self._thread is not None and self._thread.is_alive():
            self._ended.set()
            self._thread.join()
            with contextlib.suppress(StateError):
                self.ask("zrem", f"{PREFIX}workers", self.worker)
                self.tell("gone")
        self._client.close()

    def _name(self) -> None:
        self._process = f"{self._family}-{os.getpid()}-{self._place}"
        self.worker = f"{self._process}-{next(self._numbers)}"

    def _live(self, ready: threading.Event) -> None:
        """Beat, and listen, until the end; begin again under another name where Redis was lost in between."""
        while not self._ended.is_set():
            try:
                with self._client.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
                    channel.subscribe(f"{PREFIX}all", f"{PREFIX}to:{self._process}")
                    self._next_beat = 0.0
                    self._beat()
                    self._hear("overrides")  # they may have changed unheard
                    ready.set()
                    self._listen(channel)
            except (redis.RedisError, OSError, StateError):
                self._lost = True
                self._ended.wait(_BEAT_S / 4)

    def _listen(self, channel: Any) -> None:
        pause_s = _PAUSE_S
        while not self._ended.is_set():
            message = channel.get_message(timeout=pause_s)
            if message is not None:
                with contextlib.suppress(StateError):
                    self._hear(*json.loads(message["data"]))
            pause_s = min(_PAUSE_S, self.attend())
            self._beat()

    def _hear(self, word: str, *more: str) -> None:
        if word == "know":
            key, word = more
            self._hear(word)
            self.ask("rpush", key, 1)
            self.ask("expire", key, LIFE_S)
        elif word == "gone":
            self.alive = self.list_living()
        elif word in self.hears:
            self.hears[word](*more)

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
        self.alive = self.list_living()
        self._next_beat = time.monotonic() + _BEAT_S
        self.on_beat()


def _describe(error: BaseException) -> str:
    return " ".join(mask_url(str(error)).split()).rstrip(".") or type(error).__name__


def _throw(error: Exception, _client: redis.Redis) -> None:
    raise error
