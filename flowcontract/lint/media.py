"""Checks that a media file is complete and of the type of its suffix, so that it can be played or shown."""

from __future__ import annotations

import struct
import wave
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PNG = b"\x89PNG\r\n\x1a\n"
_MP3_BITRATES = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # MPEG-1 layer III, kbit/s
_MP3_BITRATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # MPEG-2 and 2.5
_MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz, by version bits


def find_error(path: Path) -> str | None:
    """Return what is wrong with a media file; None if nothing is, or if its suffix is not checked."""
    check = _CHECKS.get(path.suffix.lower())
    if check is None:
        return None
    try:
        return check(path.read_bytes())
    except OSError as error:
        return f"it cannot be read: {error}"


def _check_wav(data: bytes) -> str | None:
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return "it does not begin as a WAV file (RIFF ... WAVE)"
    size = struct.unpack_from("<I", data, 4)[0]
    if size + 8 != len(data):
        return f"its RIFF header says {size + 8} bytes, and there are {len(data)}"
    import io  # noqa: PLC0415

    try:
        with wave.open(io.BytesIO(data)) as audio:
            frames, width = audio.getnframes(), audio.getnchannels() * audio.getsampwidth()
            if len(audio.readframes(frames)) != frames * width or not frames:
                return "its data chunk is shorter than its header says, or empty"
    except (wave.Error, EOFError) as error:
        return f"it is not a playable WAV: {error}"
    return None


def _check_png(data: bytes) -> str | None:
    if not data.startswith(_PNG):
        return "it does not begin as a PNG"
    at, last = len(_PNG), b""
    while at + 12 <= len(data):
        length, last = struct.unpack_from(">I4s", data, at)
        chunk = data[at + 4 : at + 8 + length]
        if data[at + 8 + length : at + 12 + length] != struct.pack(">I", zlib.crc32(chunk)):
            return f"its chunk {last.decode('ascii', 'replace')} is damaged"
        at += 12 + length
    if last != b"IEND" or at != len(data):
        return "it does not end with IEND"
    return None


def _check_mp3(data: bytes) -> str | None:
    """Follow the frames from header to header: https://www.iso.org/standard/22412.html, 2.4.1.3."""
    at = 0
    if data[:3] == b"ID3" and len(data) > 10:  # noqa: PLR2004 - the size of an ID3v2 header
        at = 10 + sum(byte << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
    end = len(data) - 128 if data[-128:-125] == b"TAG" else len(data)
    frames = 0
    while at < end:
        length = _measure_mp3_frame(data[at : at + 4])
        if length is None:
            return f"byte {at} is not the beginning of an MP3 frame"
        at, frames = at + length, frames + 1
    if at != end or not frames:
        return "its last frame is not whole" if frames else "it has no frames"
    return None


def _measure_mp3_frame(header: bytes) -> int | None:
    """Return the length of the layer III frame of a header; None if it is not a header."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:  # noqa: PLR2004 - eleven bits of sync
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version not in _MP3_RATES or layer != 1 or not 0 < bitrate < 15 or rate > 2:  # noqa: PLR2004 - reserved values
        return None
    rates = _MP3_BITRATES if version == 3 else _MP3_BITRATES_2  # noqa: PLR2004 - MPEG-1
    samples = 144 if version == 3 else 72  # noqa: PLR2004
    return samples * rates[bitrate] * 1000 // _MP3_RATES[version][rate] + padding


_CHECKS: dict[str, Callable[[bytes], str | None]] = {".wav": _check_wav, ".png": _check_png, ".mp3": _check_mp3}
