"""Nothing that a terminal obeys reaches it."""

from __future__ import annotations

import pytest

from flowcontract.output.printable import make_printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("\x7f\x00", "\\x7f\\x00"),
        ("a\r\n\tb", "a\\r\\n\\tb"),
        ("\u202egpj.exe\u2066", "\\u202egpj.exe\\u2066"),
        ("half \ud83d", "half \\ud83d"),
        ("a\u2028b", "a\\u2028b"),
        ("ordinary: äöü 漢字 👩‍👩‍👧 \\ %", "ordinary: äöü 漢字 👩‍👩‍👧 \\ %"),
    ],
)
def test_what_a_terminal_obeys_is_shown_instead(text: str, shown: str) -> None:
    """C0, DEL, C1, directions and halves of characters become escapes; other text stays as it is."""
    assert make_printable(text) == shown
    make_printable(text).encode("utf-8")


def test_line_breaks_and_tabs_stay_where_they_are_ours() -> None:
    """A carriage return, which would overwrite a line, does not."""
    assert make_printable("a\n\tb\r\x1b", lines=True) == "a\n\tb\\r\\x1b"
