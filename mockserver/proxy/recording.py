"""`--record DIR`: writes each exchange down as it happens, without secrets and within a bound."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import threading
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from flowcontract.errors import FlowContractError
from flowcontract.output.secret_texts import MASK
from flowcontract.output.secrets import find_values_in_header
from flowcontract.output.version import read_version
from flowcontract.recordings import jsonl
from flowcontract.recordings.har_writing import save_har
from mockserver.http.failures import tell
from mockserver.proxy.masking import PieceMask
from mockserver.proxy.rewriting import Rewriting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from flowcontract.output.secrets import Secrets
    from mockserver.http.messages import Request
    from mockserver.journal.masking import Masking

HAR_NAME = "recording.har"
KEPT_OF_REQUEST = 4 << 20
"""Bytes of a request's body that are recorded; of a larger one only the size is."""
_LOOKED_AT = 1 << 20
"""Bytes of a request's body in which secrets are looked for, to mask them in the answer, too."""
_RESERVE = 4096  # bytes that ends of exchanges may have beyond the bound


class RecordingError(FlowContractError):
    """A recording cannot be made where it was asked for."""


class Recorder:
    """Appends to the recording of one folder. May be used from several threads."""

    def __init__(
        self,
        folder: Path,
        masking: Masking,
        servers: Mapping[str, str],
        *,
        limit: int,
        rewriting: Rewriting | None = None,
    ) -> None:
        """Begin a recording of at most `limit` bytes; raise RecordingError unless the folder is empty and writable."""
        self.folder, self.masking, self._limit = folder, masking, limit
        self._rewriting = rewriting or Rewriting()
        self._file = _open_new(folder)
        self._lock = threading.Lock()
        self._size = 0
        self._closed = self._full = False
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        tool = f"mockserver proxy {read_version()}"
        head = {"type": "recording", "version": jsonl.VERSION, "tool": tool, "started": now, "servers": dict(servers)}
        self.write(head)

    @property
    def path(self) -> Path:
        """The file that is appended to."""
        return self.folder / jsonl.NAME

    def write(self, line: Mapping[str, Any], *, last: bool = False) -> bool:
        """Append a line at once, unless the bound is reached; the `last` one of an exchange has some room beyond.

        Return whether it was written.
        """
        data = jsonl.write_line(line)
        with self._lock:
            if self._closed or (self._full and not last):
                return False
            if self._size + len(data) > self._limit + (_RESERVE if last else 0):
                self._stop(f"The recording has {self._limit >> 20} MB: nothing more is recorded.")
                return False
            left = data
            try:
                while left:  # a disk that has room for a part of it takes that, and says so the next time
                    left = left[self._file.write(left) :]
            except OSError as error:
                with contextlib.suppress(OSError):
                    self._file.truncate(self._size)  # the next line stands alone
                self._stop(f"Cannot record any more in {self.folder}: {error.strerror}.")
                return False
            self._size += len(data)
            return True

    def _stop(self, why: str) -> None:
        if not self._full:
            tell(why)
        self._full = True

    def begin(self, number: int, at: float, request: Request) -> RecordedExchange:
        """Begin to record an exchange; the secrets of its request are masked in all of it."""
        masking = self.masking
        found = [*masking.find_in_headers(request.headers.items()), *masking.find_in_query(request.query)]
        if request.incoming is None and request.body.size < _LOOKED_AT:
            text = request.body.read().decode("utf-8", "replace")
            found += masking.find_in_body(text, request.fields.get("content-type", ""))
        return RecordedExchange(self, masking, self._rewriting, number, at, masking.find_known(found))

    def close(self) -> None:
        """End the recording, and write it as HAR beside it."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._file.close()
        try:
            save_har(self.path, self.folder / HAR_NAME)
        except OSError as error:
            tell(f"Cannot write {HAR_NAME}: {error.strerror}. {jsonl.NAME} has all of it.")


class RecordedExchange:
    """One exchange that is being recorded."""

    def __init__(  # noqa: PLR0913, PLR0917 - made in one place
        self, recorder: Recorder, masking: Masking, rewriting: Rewriting, number: int, at: float, secret: Secrets
    ) -> None:
        self._recorder, self._masking, self._number, self._at = recorder, masking, number, at
        self._rewriting, self._secret = rewriting, secret
        self._pieces = PieceMask(secret, rewriting)
        self._asked = self._ended = False
        self._begun = False  # the request stands in the recording
        self._readable = True  # what is to be rewritten can be read
        self._partial = False  # something of the answer's body was left out

    def write_request(  # noqa: PLR0913, PLR0917 - the parts of a line
        self,
        api: str,
        operation: str | None,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes | None,
        size: int,
    ) -> None:
        """Write the request, once; its body where it is known and not too large."""
        if self._asked:
            return
        self._asked = True
        address, mark, query = url.partition("?")
        line: dict[str, Any] = {
            "api": api,
            "operation": operation,
            "method": method,
            "url": self._secret.mask(
                f"{address}{mark}{self._rewriting.rewrite_query(self._masking.mask_query(query))}"
            ),
            "headers": self._mask_headers(headers),
        }
        if body and len(body) <= KEPT_OF_REQUEST and (shown := self._mask_body(body, headers)):
            line["body"] = jsonl.write_bytes(shown)
        self._begun = self._write("request", self._at, {**line, "bodySize": size})

    def write_response(self, at: float, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Write status and headers; what is recorded of the body has no coding any more."""
        for name, value in headers:
            if self._masking.hides(name):
                for found in find_values_in_header(name, value):
                    self._secret.add(found)
        kind = next((value.lower() for name, value in headers if name.lower() == "content-type"), "")
        self._readable = not self._rewriting or "json" in kind or "event-stream" in kind
        self._pieces.has_blocks = "json" not in kind
        kept = [pair for pair in headers if pair[0].lower() not in ("content-encoding", "content-length")]
        rewritten = {"rewritten": True} if self._rewriting else {}
        if not self._write("response", at, {"status": status, "headers": self._mask_headers(kept), **rewritten}):
            self._partial = True

    def write_piece(self, at: float, data: bytes) -> None:
        """Write a piece as soon as it is clear that it does not end in a secret."""
        if not self._readable:
            self._partial = self._partial or bool(data)
        elif data:
            self._write_pieces(self._pieces.feed(at, data))

    def note_unreadable(self) -> None:
        """Note that the body has a coding that cannot be undone here, and is left out from now on."""
        self._partial = True

    def end(self, at: float, how: jsonl.How, violations: Sequence[Mapping[str, Any]]) -> None:
        """Write how it ended, once."""
        if self._ended or not self._begun:
            return
        self._ended = True
        self._write_pieces(self._pieces.close())
        masked = self._secret.mask_json(list(violations))
        if self._rewriting:  # they quote what came
            masked = [{key: found[key] for key in found if key not in ("got", "message")} for found in masked]
        partial = {"partial": True} if self._partial or self._pieces.lost else {}
        if not self._write("end", at, {"how": how, "violations": masked, **partial}, last=True):
            self._write("end", at, {"how": how, "violations": [], **partial}, last=True)  # which needs less room

    def _write_pieces(self, pieces: Sequence[tuple[float, bytes]]) -> None:
        for at, data in pieces:
            if data and not self._write("piece", at, jsonl.write_bytes(data)):
                self._partial = True

    def _write(self, kind: str, at: float, more: Mapping[str, Any], *, last: bool = False) -> bool:
        return self._recorder.write({"type": kind, "id": self._number, "at": round(at, 6), **more}, last=last)

    def _mask_headers(self, headers: Sequence[tuple[str, str]]) -> list[list[str]]:
        return [
            [name, MASK if self._rewriting.hides(name) else self._secret.mask(self._masking.mask_header(name, value))]
            for name, value in headers
        ]

    def _mask_body(self, body: bytes, headers: Sequence[tuple[str, str]]) -> bytes:
        fields = {name.lower(): value for name, value in headers}
        kind = fields.get("content-type", "")
        if fields.get("content-encoding", "identity").lower() != "identity":
            return b""  # in which no secret can be seen
        if self._rewriting and kind.startswith("multipart/"):
            return b""  # whose fields are not told apart here
        try:
            text = body.decode()
        except UnicodeDecodeError:
            body = self._secret.mask_bytes(body)
            return self._masking.mask_body(body.decode("latin-1"), kind).encode("latin-1")  # a character for each byte
        text = self._rewriting.rewrite_query(text) if "urlencoded" in kind else self._rewriting.rewrite_text(text)
        return self._secret.mask(self._masking.mask_body(text, kind)).encode()


def _open_private(path: str, flags: int) -> int:
    """Open a file that nobody else may read: what people asked and were answered stands in it."""
    return os.open(path, flags, 0o600)


def _open_new(folder: Path) -> BinaryIO:
    """Return the new file of a recording; raise RecordingError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise RecordingError(f"{folder} is not empty. Name a new folder with --record, or empty this one.")
        descriptor = _open_private(str(folder / jsonl.NAME), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
        return cast("BinaryIO", os.fdopen(descriptor, "wb", buffering=0))
    except NotADirectoryError:
        raise RecordingError(f"{folder} is no folder. Name one with --record.") from None
    except FileExistsError:
        raise RecordingError(f"{folder} is no folder. Name one with --record.") from None
    except OSError as error:
        raise RecordingError(
            f"Cannot record in {folder}: {error.strerror}. Name a folder that can be written."
        ) from None
