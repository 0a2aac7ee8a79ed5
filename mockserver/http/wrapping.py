"""A stream around another one: whoever looks at what passes says only what is different."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockserver.http.live import LiveStream
    from mockserver.http.messages import End, Streamed


class WrappedStream:
    """Does as the stream within does, but for `advance` and `close`, which see the pieces and the end."""

    def __init__(self, stream: Streamed) -> None:
        """Pass on what `stream` sends."""
        self._stream = stream

    @property
    def on_change(self) -> Callable[[], None]:
        """What is called when `advance` has to be asked at once."""
        return self._stream.on_change

    @on_change.setter
    def on_change(self, call: Callable[[], None]) -> None:
        self._stream.on_change = call

    @property
    def on_loop(self) -> bool:
        """Whether the stream has `on_arrival`."""
        return self._stream.on_loop

    @property
    def on_arrival(self) -> Callable[[], None] | None:
        """What a stream from elsewhere calls on the sender's loop."""
        return getattr(self._stream, "on_arrival", None)

    @on_arrival.setter
    def on_arrival(self, call: Callable[[], None] | None) -> None:
        cast("LiveStream", self._stream).on_arrival = call

    @property
    def ended(self) -> End | None:
        """How it ended; None while it goes on."""
        return self._stream.ended

    @property
    def failure(self) -> str | None:
        """What went wrong in the mock itself, and cut it off."""
        return self._stream.failure

    def stop(self) -> None:
        """End it as a stopped one ends."""
        self._stream.stop()
