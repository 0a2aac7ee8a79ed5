"""Creates small valid files: a picture, sounds, a film, texts. Generated, so that every byte is known."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from dataclasses import dataclass
from functools import cache

from contract_tests.http.exchange import Upload


def upload(hint: str, run: str) -> Upload:
    """Return a file of the sort that an example's value or file name hints at: `PNG`, `820033.wav`, `ID3`, `a PDF`."""
    low = hint.lower()
    if "video" in low:
        return Upload(f"film-{run}.mp4", "video/mp4", make_mp4())
    if "png" in low or "image" in low:
        return Upload(f"picture-{run}.png", "image/png", make_png())
    if "riff" in low or "wav" in low or "audio" in low:
        return Upload(f"sound-{run}.wav", "audio/wav", make_wav())
    if "id3" in low or "mp3" in low:
        return Upload(f"sound-{run}.mp3", "audio/mpeg", make_mp3())
    if "pdf" in low:
        return Upload(f"manual-{run}.pdf", "application/pdf", make_fragile(run))
    return Upload(f"note-{run}.txt", "text/plain", make_text(run))


@dataclass(frozen=True, slots=True)
class Oversize:
    """A file of one byte more than a number of megabytes, or than the limit that an app states (`over`, a pointer)."""

    filename: str
    megabytes: int = 0
    over: str = ""

    def upload(self, megabytes: int) -> Upload:
        """Return the file."""
        begin = make_wav() if self.filename.endswith("wav") else b""
        content = begin + bytes(megabytes * 1024 * 1024 + 1 - len(begin))
        return Upload(self.filename, "audio/wav" if begin else "text/plain", content)


@cache
def make_png() -> bytes:
    """Return a picture of 8 by 8 orange points."""
    rows = b"".join(b"\x00" + b"\xff\x8c\x00" * 8 for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_pack_chunk(name, data) for name, data in chunks)


def _pack_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@cache
def make_wav() -> bytes:
    """Return a tenth of a second of silence, 8 kHz, 16 bit."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\x00\x00" * 800)
    return buffer.getvalue()


@cache
def make_mp3() -> bytes:
    """Return four frames of silence: MPEG-1 layer III, 128 kbit/s, 44.1 kHz, mono."""
    frame = b"\xff\xfb\x90\xc4" + bytes(413)  # 144 * 128000 / 44100 = 417 bytes a frame
    return frame * 4


@cache
def make_mp4() -> bytes:
    """Return the boxes of a film of no pictures."""
    boxes = ((b"ftyp", b"isom\0\0\2\0isomiso2mp41"), (b"mdat", b""))
    return b"".join(struct.pack(">I", len(content) + 8) + name + content for name, content in boxes)


def make_text(run: str) -> bytes:
    """Return a text that is unique to a run, with characters outside ASCII."""
    return f"A note of the contract tests, run {run}: Grüße, 你好, \U0001f600\n".encode()


def make_fragile(run: str) -> bytes:
    """Return bytes that change if they are decoded, trimmed or cut: a BOM, line ends, NUL, invalid UTF-8, 77 kB."""
    return b"\xef\xbb\xbf%PDF-1.4\r\n" + run.encode() + bytes(range(256)) * 300 + b"\r\n \n\x00 "
