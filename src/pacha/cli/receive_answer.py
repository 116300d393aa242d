"""What `pacha receive` says to the pusher: a line of JSON for whatever happens, the last the outcome.

Called by `cli/receive`; itself no verb. Whoever listens may be gone: then nothing is said, and nothing else
changes. A pusher takes only so long an answer: what hooks and tools print is streamed up to a bound of each,
and of all.
"""

from __future__ import annotations

import json
import os
from typing import Any

_LINES_OF_EACH = 1000  # hook, or phase of a tool
_LINES_OF_ALL = 20_000
_BYTES_OF_ALL = 2_000_000  # each of which may take six in JSON
_KEPT_LINES, _KEPT_BYTES = 20, 1000  # of each phase of a tool; of a line
_MOST_NOTES = 100


class Answer:
    """What the pusher is told, line by line; the `Report` of the operation."""

    def __init__(self) -> None:
        self._phase = "verify"
        self._is_heard = True
        self._notes: list[str] = []
        self._left_out = 0  # notes
        self._output: dict[str, list[str]] = {}  # of tools, by phase
        self._lines: dict[str, int] = {}  # how many were streamed, by hook, or phase of a tool
        self._bytes = 0

    def say(self, values: dict[str, Any]) -> None:
        """One line; nothing where nobody listens any more."""
        if not self._is_heard:
            return
        line = memoryview(json.dumps({"phase": self._phase, **values}).encode() + b"\n")
        try:
            while line:
                line = line[os.write(1, line) :]
        except OSError:
            self._is_heard = False

    def phase(self, name: str) -> None:
        """A phase begins."""
        self._phase = name
        self.say({})

    def note(self, text: str) -> None:
        """A sentence for the person."""
        if len(self._notes) == _MOST_NOTES:
            self._left_out += 1
            return
        self._notes.append(text)
        self.say({"note": text})

    def tool_output(self, line: bytes) -> None:
        """A line of a package manager, or of what manages services."""
        if line.strip():
            kept = self._output.setdefault(self._phase, [])
            kept.append(line[:_KEPT_BYTES].decode("utf-8", "replace"))
            del kept[:-_KEPT_LINES]
        self._stream(self._phase, {}, line)

    def hook_output(self, hook: str, line: bytes) -> None:
        """A line that a hook printed."""
        name = f"{self._phase}/{hook}"
        self._stream(name, {"hook": name}, line)

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Phases are enough."""

    def finish(self) -> None:
        """There is no bar to take away."""

    @property
    def notes(self) -> list[str]:
        """All that was noted."""
        return [*self._notes, *([f"and {self._left_out} more of these"] if self._left_out else [])]

    def output_in(self, phase: str) -> list[str]:
        """The end of what tools printed in a phase."""
        return self._output.get(phase, [])

    def _stream(self, source: str, whose: dict[str, str], line: bytes) -> None:
        """A line of output, or that there is more of it, or nothing."""
        count = self._lines.get(source, 0)
        if count > _LINES_OF_EACH:
            return
        is_over = sum(self._lines.values()) >= _LINES_OF_ALL or self._bytes + len(line) > _BYTES_OF_ALL
        if is_over or count == _LINES_OF_EACH:
            self._lines[source] = _LINES_OF_EACH + 1
            self.say({**whose, "line": "… the rest of its output is left out here"})
            return
        self._lines[source] = count + 1
        self._bytes += len(line)
        self.say({**whose, "line": line.decode("utf-8", "replace")})
