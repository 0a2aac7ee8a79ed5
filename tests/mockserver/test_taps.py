"""Taps: what a test of the proxy compares is all of what was sent and of what has arrived."""

from __future__ import annotations

from taps import Answer, Answers, find_differences

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def read(data: bytes) -> list[Answer]:
    answers = Answers()
    for at in range(0, len(data), 1000):
        answers.feed(data[at : at + 1000])
    return answers.found


def stream(body: bytes, *, end: bytes = b"0\r\n\r\n") -> bytes:
    return HEAD + b"%x\r\n%b\r\n" % (len(body), body) + end


def test_byte_that_differs_far_behind_is_noticed() -> None:
    """No journal keeps the end of such a stream."""
    sent = read(stream(b"x" * 300_000))
    assert find_differences(read(stream(b"x" * 300_000)), sent) == []
    assert len(find_differences(read(stream(b"x" * 299_999 + b"y")), sent)) == 2


def test_what_was_left_early_is_the_beginning_of_what_was_sent() -> None:
    """A client may leave before the end; what it got has to be what was sent until then, and to be said to go on."""
    sent = read(stream(b"one two") + stream(b"three"))
    assert find_differences(read(stream(b"one", end=b"")) + read(stream(b"three")), sent) == []
    assert len(find_differences(read(stream(b"one")) + read(stream(b"three")), sent)) == 2
    assert len(find_differences(read(stream(b"three")), sent)) == 1
