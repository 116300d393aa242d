"""Plain words for people: nothing that a path or a line of a file holds can harm a terminal."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import paths

from pacha.ui.text import (
    CHANGE_COLOURS,
    STEP_COLOURS,
    clip,
    content_line,
    paint,
    plural,
    printable,
    shown,
    use_colour,
    wrap,
)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"/etc/hosts", "/etc/hosts"),
        (b"/etc/caf\xc3\xa9", "/etc/café"),
        (b"/a\nb\tc\rd", "/a\\nb\\tc\\rd"),
        (b"/\x1b]0;title\x07", "/\\x1b]0;title\\x07"),
        (b"/\xff\xfe", "/\\xff\\xfe"),
        (b"/\xe2\x80\xae", "/\\u202e"),
        (b"/\xc2\x9b", "/\\x9b"),
        (b"/\xf0\x9f\x98\x80", "/😀"),
        (b"/\xf3\xa0\x80\x81", "/\\U000e0001"),
    ],
)
def test_paths_are_shown_on_one_harmless_line(path: bytes, text: str) -> None:
    assert shown(path) == text


@settings(max_examples=100, deadline=None)
@given(paths | st.binary(max_size=40))
def test_whatever_is_shown_is_printable_text(path: bytes) -> None:
    text = shown(path)
    assert text.isprintable()
    text.encode()


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_printable_text_stays_and_all_else_is_escaped(text: str) -> None:
    assert printable(text).isprintable()
    if text.isprintable():
        assert printable(text) == text


@pytest.mark.parametrize(
    ("line", "text"),
    [(b"a\tb", "a\tb"), (b"a\rb", "a\\rb"), (b"\x1b[2J", "\\x1b[2J"), (b"\xe9", "\\xe9"), (b"", "")],
)
def test_lines_keep_their_tabs_and_nothing_else(line: bytes, text: str) -> None:
    assert content_line(line) == text


def test_colours_are_codes_only_where_they_are_on() -> None:
    assert paint("x", "red", True) == "\x1b[31mx\x1b[0m"
    assert paint("x", "red", False) == "x"
    assert paint("x", "", True) == "x"
    for colour in {*CHANGE_COLOURS.values(), *STEP_COLOURS.values()}:
        assert paint("x", colour, True) != "x"
    assert set(CHANGE_COLOURS) == {"added", "modified", "removed", "metadata"}
    assert set(STEP_COLOURS) == {"create", "replace", "remove", "metadata", "link"}


ASK = "from pacha.ui.text import use_colour; import sys; sys.exit(10 + use_colour())"


@pytest.mark.parametrize(
    ("more", "coloured"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
    ],
)
def test_a_terminal_is_coloured_unless_told_otherwise(more: dict[str, str], coloured: bool) -> None:
    ours, theirs = pty.openpty()
    kept = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", ASK], stdout=theirs, env={**kept, "TERM": "xterm", **more}, check=False
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 10 + coloured


def test_a_pipe_is_not_coloured() -> None:
    assert not use_colour(io.StringIO())


@pytest.mark.parametrize(
    ("text", "width", "clipped"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("abcdef", 1, "…"),
        ("abcdef", 0, "abcdef"),
        ("", 3, ""),
    ],
)
def test_clipped_text_shows_that_it_is(text: str, width: int, clipped: str) -> None:
    assert clip(text, width) == clipped


@pytest.mark.parametrize(
    ("count", "word", "text"),
    [
        (0, "change", "0 changes"),
        (1, "change", "1 change"),
        (1200, "change", "1,200 changes"),
        (2, "entry", "2 entries"),
        (1, "entry", "1 entry"),
        (2, "day", "2 days"),
    ],
)
def test_counted_words(count: int, word: str, text: str) -> None:
    assert plural(count, word) == text


@given(st.text(), st.integers(1, 30))
def test_wrapping_keeps_every_character(text: str, width: int) -> None:
    pieces = wrap(text, width)
    assert "".join(pieces) == text.expandtabs()
    assert all(0 < len(piece) <= width for piece in pieces) or pieces == [""]
    assert wrap(text, 0) == [text]
