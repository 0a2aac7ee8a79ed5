"""What a test passes on to a server, and what it records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from flowcontract.errors import ConfigError
from mockserver.proxy.answers import AnswerRecording
from mockserver.proxy.passing import Passing, make_masking, map_servers
from mockserver.proxy.recording import Recorder, RecordingError
from mockserver.proxy.servers import parse_server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mockserver.core.mock import Mock

Enforce = Literal["", "error", "cut"]


class Tap:
    """Puts a running mock between a client and a server, and takes it away again.

    ``fixtures``  the folder of scenarios of one's own, which come before the server
    """

    def __init__(self, mock: Mock, fixtures: Path | None) -> None:
        """Change nothing yet."""
        self._mock, self._fixtures = mock, fixtures
        self._passing: Passing | None = None
        self._recorder: Recorder | None = None

    def pass_on(self, api: str, to: str, enforce: Enforce) -> None:
        """Pass the requests of an API on; raise UnknownNameError, ServerError or ConfigError."""
        server, passing = parse_server(api, to), self._passing
        if enforce not in get_args(Enforce):
            raise ConfigError(f'enforce="{enforce}" is none. There is: "error", "cut", or "", which lets all pass.')
        if passing is None:
            passing = Passing(self._mock, {}, enforce, self._fixtures, recorder=self._recorder)
        elif passing.enforce != enforce:
            raise ConfigError(
                f'{", ".join(passing.servers)} is passed on with enforce="{passing.enforce}" until this test ends. '
                f"Say the same for {api}."
            )
        passing.add(server)
        self._mock.passing = self._passing = passing

    def record(self, folder: Path, urls: Mapping[str, str], *, max_mb: int) -> None:
        """Record into a new or empty folder; raise RecordingError where that cannot be done.

        ``urls``  API -> base URL at which the mock answers itself
        """
        if self._recorder is not None:
            raise RecordingError(f"It is recorded already, in {self._recorder.folder}.")
        servers = {**urls, **(map_servers(self._passing.servers) if self._passing else {})}
        self._recorder = Recorder(folder, make_masking(self._mock.apis), servers, limit=max_mb << 20)
        self._mock.recording = AnswerRecording(self._recorder)
        if self._passing is not None:
            self._passing.recorder = self._recorder

    def close(self) -> None:
        """Let the mock answer all requests again, and end the recording."""
        self._mock.passing = self._mock.recording = None
        if self._recorder is not None:
            self._recorder.close()
