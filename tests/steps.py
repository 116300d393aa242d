"""Small steps that many scenarios take: what a person reads off the screen, typed answers, kept trees."""

from __future__ import annotations

import os
import pty
import select
import signal
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.command import Pacha

PATIENCE = 30.0


def revisions(pacha: Pacha, *paths: str | Path) -> list[dict[str, Any]]:
    """All revisions, newest first."""
    found: list[dict[str, Any]] = pacha.ok("log", "-n", "0", *paths)["revisions"]
    return found


def newest(pacha: Pacha) -> str:
    """The id of the last revision."""
    return str(revisions(pacha)[0]["id"])


def pending(pacha: Pacha) -> list[tuple[str, str]]:
    """What `status` says is not yet captured."""
    return [(found["change"], found["path"]) for found in pacha.ok("status")["pending"]]


def capture(pacha: Pacha) -> str:
    """Capture, and insist that there was something to capture."""
    revision = pacha.ok("capture")["revision"]
    assert isinstance(revision, str), "nothing was captured"
    return revision


def watch_first(pacha: Pacha, path: str | Path) -> str:
    """Watch a path for the first time; the revision that this made."""
    revision = pacha.ok("watch", path)["revision"]
    assert isinstance(revision, str), "nothing was captured"
    return revision


def on_terminal(
    pacha: Pacha,
    *args: str | Path,
    answer: bytes = b"",
    questions: Sequence[bytes] = (b"?",),
    extra: Mapping[str, str] | None = None,
    columns: int = 0,
) -> tuple[int, str]:
    """Run a command on a terminal of its own (of no known width: 0), typing `answer` at each of its questions;
    its exit code and all it showed.
    """
    environment = {**pacha.environment(), "TERM": "xterm", **(extra or {})}
    environment = {name: value for name, value in environment.items() if value != ""}
    argv = pacha.argv(*args)
    child, terminal = pty.fork()
    if child == 0:
        termios.tcsetwinsize(0, (24 if columns else 0, columns))
        os.chdir(pacha.home)
        os.execvpe(argv[0], argv, environment)
    shown, answered = b"", 0
    expected = list(questions) if answer else []
    until = time.monotonic() + PATIENCE
    while True:
        ready, _, _ = select.select([terminal], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            os.kill(child, signal.SIGKILL)
            break
        try:
            more = os.read(terminal, 65_536)
        except OSError:
            more = b""
        if not more:
            break
        shown += more
        while expected and (at := shown.find(expected[0], answered)) >= 0:
            os.write(terminal, answer)
            answered = at + len(expected.pop(0))
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), shown.decode(errors="replace")
