"""A text -> a sound of its own: the frames of a short MP3, in an order that the text decides."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SYLLABLE: Final = 4  # frames; at 16 kHz a seventh of a second
_FEWEST, _MOST = 16, 240  # syllables: so many that two texts hardly ever sound alike, and half a minute at most
_KBPS: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_HERTZ: Final = (22050, 24000, 16000)


def speak(voice: Path, text: str) -> bytes:
    """Return the sound of a text, the same one for the same text.

    The voice is an MP3 of half sampling rate (MPEG-2, layer III: ISO 13818-3) whose frames stand alone: none borrows
    bits from those before it.
    """
    frames = list(_split_frames(voice.read_bytes()))
    syllables = [frames[start : start + _SYLLABLE] for start in range(len(frames) - _SYLLABLE + 1)]
    count = min(max(2 * len(text.split()), len(text) // 3, _FEWEST), _MOST)
    chosen = random.Random(text).choices(syllables, k=count)  # noqa: S311 - reproducible on purpose, guards nothing
    return b"".join(frame for syllable in chosen for frame in syllable)


def _split_frames(mp3: bytes) -> Iterator[bytes]:
    start = 0
    while start + 4 <= len(mp3):
        flags = mp3[start + 2]
        length = 72_000 * _KBPS[flags >> 4] // _HERTZ[flags >> 2 & 3] + (flags >> 1 & 1)
        yield mp3[start : start + length]
        start += length
