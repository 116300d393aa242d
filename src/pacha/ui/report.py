"""What an operation says while it works: notes, a progress bar, the output of hooks. All of it on standard
error.

Made by `cli/session` and handed to the operations as their `Report`. The bar appears only on a terminal and
only after a moment, so quick commands stay silent; rich is imported only then.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from pacha.ui.text import clip, content_line, printable, terminal_width

if TYPE_CHECKING:
    from pacha.ui.live import Live

_PATIENCE = 0.4  # seconds of work before a bar is worth its flicker


class Report:
    """Notes and progress of one command."""

    def __init__(self, *, quiet: bool, as_json: bool, verbose: bool = False) -> None:
        self._quiet = quiet
        self._as_json = as_json
        self._verbose = verbose
        self._tells_events = False
        self._bar_wanted = not quiet and not as_json and sys.stderr.isatty()
        self._started = time.monotonic()
        self._bar: Any = None
        self._passing: Live | None = None
        self._tasks: dict[str, Any] = {}

    def tell_events(self) -> None:
        """From now on everything on standard error is one JSON object a line."""
        self._tells_events = True

    def note(self, text: str) -> None:
        """A sentence for the person."""
        if self._tells_events:
            self._event({"event": "note", "text": text})
        elif not self._quiet:
            self.finish()
            sys.stderr.write(f"pacha: {printable(text)}\n")

    def hook_output(self, hook: str, line: bytes) -> None:
        """A line that a hook printed, under its name."""
        if self._tells_events:
            self._event({"event": "hook", "hook": hook, "line": line.decode("utf-8", "replace")})
        elif not self._quiet:
            self.finish()
            sys.stderr.write(f"  {hook}: {content_line(line)}\n")
            sys.stderr.flush()

    def phase(self, name: str) -> None:
        """A part of a long operation begins; with --json, an event on standard error."""
        self.finish()
        if self._tells_events:
            self._event({"event": "phase", "phase": name})
        elif not self._quiet:
            sys.stderr.write(f"pacha: {name}\n")
            sys.stderr.flush()

    def tool_output(self, line: bytes) -> None:
        """A line that a package manager printed: for who wants it all of them, on a terminal the last."""
        if self._verbose and self._tells_events:
            self._event({"event": "output", "line": line.decode("utf-8", "replace")})
        elif self._verbose and not self._as_json:
            sys.stderr.write(f"  {content_line(line)}\n")
            sys.stderr.flush()
        elif self._bar_wanted:
            self._show_passing(content_line(line))

    def _show_passing(self, line: str) -> None:
        if self._passing is None:
            from pacha.ui.live import Live

            self._passing = Live(sys.stderr)
        shown = clip("  " + line.expandtabs(), terminal_width(sys.stderr))
        self._passing.draw(lambda: [shown])

    def _event(self, values: dict[str, Any]) -> None:
        import json

        sys.stderr.write(json.dumps(values) + "\n")
        sys.stderr.flush()

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Move the bar of `what`."""
        if not self._bar_wanted or time.monotonic() - self._started < _PATIENCE:
            return
        if self._bar is None:
            self._bar = _bar()
            self._bar.start()
        if what not in self._tasks:
            for task in self._tasks.values():
                self._bar.update(task, visible=False)
            self._tasks[what] = self._bar.add_task(what, total=total)
        self._bar.update(self._tasks[what], completed=done, total=total)

    def finish(self) -> None:
        """Take away what does not stay: the bar, or a tool's last line."""
        if self._passing is not None:
            self._passing.clear()
            self._passing = None
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            self._tasks.clear()
            self._started = time.monotonic()


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)
