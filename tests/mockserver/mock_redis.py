"""A real redis-server for tests, on a socket file of its own, that can be ended and started again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from typing import Self

import redis

MISSING = "redis-server is not installed (`apt-get install redis-server`): sharing worlds is not tested"


class RedisServer:
    """A process that keeps nothing beyond its end."""

    def __init__(self) -> None:
        """Start it and wait until it answers."""
        self._folder = tempfile.mkdtemp(prefix="redis-")  # the path of a socket has to be short
        self.path = f"{self._folder}/socket"
        self.url = f"unix://{self.path}?db=0"
        self.start()

    def start(self) -> None:
        """Start it (again)."""
        options = ["--port", "0", "--unixsocket", self.path, "--save", "", "--dir", self._folder, "--daemonize", "no"]
        command = ["redis-server", *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if "eady to accept connections" in line:
                return
        raise RuntimeError("".join(said))

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def pause(self) -> None:
        """Let it answer nothing, with all connections open."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def client(self) -> redis.Redis:
        """Return a client of it."""
        return redis.Redis.from_url(self.url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)


def is_installed() -> bool:
    """Tell whether there is one on this machine."""
    return shutil.which("redis-server") is not None
