"""What a person, or a program, sees while a push goes on: a live table, a line for each host, or JSON.

Called by the verb `push`, which gives one of them to `ops/push` as its watcher; itself no verb. What hosts
say is shown escaped.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from pacha.cli.pushed import fold, group_lines, in_words, outcome_object
from pacha.core.answer import Outcome
from pacha.ui.live import Live
from pacha.ui.result import print_event
from pacha.ui.text import clip, paint, printable, use_colour

_CONNECTING = "connecting"
_LONGEST_NAME = 24
_PHASE, _SECONDS = 10, 6  # columns
_KEPT_FREE = 4  # lines of the terminal: the last two of all, and a person's own command
_STOPPING = "stopping: no more hosts are begun; Ctrl-C again leaves those that are at work to themselves"


class Silent:
    """Nothing: -q, or only the end counts."""

    def begun(self, destination: str) -> None:
        pass

    def said(self, destination: str, line: Mapping[str, Any]) -> None:
        pass

    def ended(self, outcome: Outcome) -> None:
        pass

    def stopping(self) -> None:
        pass

    def tick(self) -> None:
        pass

    def close(self) -> None:
        pass


class Events(Silent):
    """Lines of JSON on standard output."""

    def begun(self, destination: str) -> None:
        print_event({"host": destination, "phase": _CONNECTING})

    def said(self, destination: str, line: Mapping[str, Any]) -> None:
        print_event({**line, "host": destination})

    def ended(self, outcome: Outcome) -> None:
        print_event(outcome_object(outcome), ok=outcome.is_done)


class Lines(Silent):
    """A line for each host when it ends, where there is no terminal to draw on."""

    def __init__(self, dry_run: bool, stream: TextIO) -> None:
        self._dry_run = dry_run
        self._stream = stream

    def ended(self, outcome: Outcome) -> None:
        words = in_words(outcome, self._dry_run)
        self._stream.write(f"{printable(outcome.destination)}  {words}  {outcome.seconds:.1f} s\n")
        self._stream.flush()

    def stopping(self) -> None:
        self._stream.write(f"{_STOPPING}\n")
        self._stream.flush()


class _Row:
    """A host that is being pushed to."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.phase = _CONNECTING
        self.output = ""


class Table(Silent):
    """A live table on a terminal: what has ended folded into a few lines, below it who is at work."""

    def __init__(self, total: int, dry_run: bool, stream: TextIO) -> None:
        self._total = total
        self._dry_run = dry_run
        self._live = Live(stream)
        self._colour = use_colour(stream)
        self._began = time.monotonic()
        self._rows: dict[str, _Row] = {}
        self._outcomes: list[Outcome] = []
        self._is_stopping = False

    def begun(self, destination: str) -> None:
        self._rows[destination] = _Row()

    def said(self, destination: str, line: Mapping[str, Any]) -> None:
        row = self._rows[destination]
        output = line.get("line", line.get("note", ""))
        row.phase, row.output = str(line["phase"]), output if isinstance(output, str) else ""

    def ended(self, outcome: Outcome) -> None:
        del self._rows[outcome.destination]
        self._outcomes.append(outcome)

    def stopping(self) -> None:
        self._is_stopping = True

    def tick(self) -> None:
        self._live.draw(self._lines)

    def close(self) -> None:
        self._live.clear()

    def _lines(self) -> list[str]:
        width, height = self._live.size
        room = max(height - _KEPT_FREE, 3)
        groups = fold(self._outcomes, self._dry_run)
        lines = group_lines(groups, width, self._colour)
        lines = _cut(lines, max(room // 2, room - len(self._rows)), "more results")
        now = time.monotonic()
        rows = [self._row(name, row, now, width) for name, row in self._rows.items()]
        last = [paint(clip(_STOPPING, width), "bold", self._colour)] if self._is_stopping else []
        return [*lines, *_cut(rows, room - len(lines), "more at work"), self._last_line(now, width), *last]

    def _row(self, name: str, row: _Row, now: float, width: int) -> str:
        longest = min(max(map(len, self._rows)), _LONGEST_NAME)
        shown = clip(printable(name), longest).ljust(longest)
        seconds = f"{now - row.began:.0f} s".rjust(_SECONDS)
        head = f"{shown}  {clip(printable(row.phase), _PHASE).ljust(_PHASE)}  {seconds}"
        output = clip(printable(row.output), max(width - len(head) - 2, 1)) if row.output else ""
        return f"{head}  {paint(output, 'dim', self._colour)}".rstrip()

    def _last_line(self, now: float, width: int) -> str:
        done, working = len(self._outcomes), len(self._rows)
        waiting = self._total - done - working
        words = [f"{done} of {self._total} done", f"{working} at work"]
        if waiting:
            words.append(f"{waiting} waiting")
        return paint(clip(f"{', '.join(words)}, {now - self._began:.0f} s", width), "bold", self._colour)


def _cut(lines: list[str], most: int, what: str) -> list[str]:
    """At most so many of the lines, the last then saying how many there are more."""
    if len(lines) <= max(most, 1):
        return lines
    kept = max(most, 1) - 1
    return [*lines[:kept], f"… and {len(lines) - kept} {what}"]


def watcher(total: int, *, as_json: bool, quiet: bool, dry_run: bool) -> Silent:
    """The one that fits: standard error is where it goes on, standard output is for what comes of it."""
    if as_json:
        return Events()
    if quiet:
        return Silent()
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return Table(total, dry_run, sys.stderr)
    return Lines(dry_run, sys.stderr) if total > 1 else Silent()
