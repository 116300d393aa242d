"""Plain words for people: paths that cannot harm a terminal, ages, colours where they are wanted.

Called by the verbs' printing. It prints nothing itself. Colours are on where the stream is a terminal and
`NO_COLOR` is not set (no-color.org).
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

from pacha.core.shown import printable, shown

__all__ = [
    "clip",
    "content_line",
    "paint",
    "plural",
    "printable",
    "shown",
    "terminal_width",
    "use_colour",
    "wrap",
]

_CODES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36", "bold": "1", "dim": "2"}
CHANGE_COLOURS = {"added": "green", "modified": "yellow", "removed": "red", "metadata": "cyan"}
STEP_COLOURS = {"create": "green", "replace": "yellow", "remove": "red", "metadata": "cyan", "link": "cyan"}


def content_line(line: bytes) -> str:
    """A line of a file for a terminal: tabs stay, other control characters are escaped."""
    text = line.decode("utf-8", "surrogateescape")
    return "\t".join(printable(part) for part in text.split("\t"))


def use_colour(stream: TextIO | None = None) -> bool:
    """Whether to colour what goes to `stream` (default: standard output)."""
    stream = sys.stdout if stream is None else stream
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def terminal_width(stream: TextIO) -> int:
    """The columns of the terminal that it is; 0 where it is none."""
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except OSError:
        return 0


def paint(text: str, colour: str, on: bool) -> str:
    """`text` in a colour, or as it is."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if on and colour else text


def clip(text: str, width: int) -> str:
    """At most `width` characters, the cut marked; a width of 0 cuts nothing."""
    return text if not width or len(text) <= width else text[: max(width - 1, 0)] + "…"


def wrap(text: str, width: int) -> list[str]:
    """The text in pieces of `width` characters, tabs as spaces; a width of 0 leaves it as it is."""
    if not width:
        return [text]
    text = text.expandtabs()
    return [text[at : at + width] for at in range(0, len(text), width)] or [""]


def plural(count: int, word: str) -> str:
    """`1 change`, `1,200 changes`."""
    if count == 1:
        return f"1 {word}"
    many = word[:-1] + "ies" if word.endswith("ry") else word + "s"
    return f"{count:,} {many}"
