"""A block of lines at the bottom of a terminal that is drawn again and again.

Called by the verbs that show many things going on at once. A line is cut at the terminal's edge; what
does not fit its height is the caller's to leave out. It must not be used where the stream is no terminal.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TextIO

_INTERVAL = 0.1  # seconds between two drawings, but for the last
_UP, _ERASE_LINE, _ERASE_BELOW = "\x1b[{}F", "\x1b[2K", "\x1b[J"
# A line that is longer than it seems, as some characters are wide, must not make two of it.
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"


class Live:
    """The block on `stream`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = 0  # lines that stand there
        self._when = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """(columns, lines) of the terminal as it is now."""
        try:
            return tuple(os.get_terminal_size(self._stream.fileno()))  # type: ignore[return-value]
        except OSError:
            return 80, 24

    def draw(self, lines: Callable[[], Sequence[str]], *, now: bool = False) -> None:
        """Replace the block by what `lines` makes, if the last time is long enough ago or it is `now`."""
        if not now and time.monotonic() - self._when < _INTERVAL:
            return
        self._when = time.monotonic()
        made = lines()
        body = "".join(f"{_ERASE_LINE}{line}\n" for line in made)
        self._write(f"{self._home()}{_NO_WRAP}{body}{_WRAP}{_ERASE_BELOW}")
        self._drawn = len(made)

    def clear(self) -> None:
        """Take the block away."""
        if self._drawn:
            self._write(f"{self._home()}{_ERASE_BELOW}")
            self._drawn = 0

    def _home(self) -> str:
        return _UP.format(self._drawn) if self._drawn else ""

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
