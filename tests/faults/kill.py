"""Kill a running command at a chosen instant: wholly, only its own process, or only its child."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

GROUP, PARENT, CHILD = "group", "parent", "child"
VICTIMS = (GROUP,) * 6 + (PARENT,) * 3 + (CHILD,)


def kill(process: subprocess.Popen[str], victim: str) -> None:
    """SIGKILL the whole session of a command, its first process, or that one's children."""
    if victim == GROUP:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    elif victim == PARENT:
        process.kill()
    else:
        for child in children(process.pid):
            strike(child)


def strike(pid: int) -> None:
    """SIGKILL a process that was found by looking; one that has ended since is none the worse for it."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    """Process ids of the children of a process, of all its threads."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(word) for word in (task / "children").read_text().split()]
    return found


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str], limit: float = 10.0) -> bool:
    """Watch closely for something while the process runs; whether it happened."""
    deadline = time.monotonic() + limit
    while process.poll() is None and time.monotonic() < deadline:
        if happened():
            return True
    return happened()


class Moments:
    """Instants to strike at: half anywhere in a run, half shortly after a telling file has appeared."""

    def __init__(self, choice: random.Random, span: float, sign: Callable[[], bool], window: float) -> None:
        self.choice = choice
        self.span = span
        self.sign = sign
        self.window = window
        self.seen = 0

    def await_next(self, process: subprocess.Popen[str]) -> None:
        """Return at the next instant."""
        if self.choice.random() < 0.5:
            time.sleep(self.choice.uniform(0, self.span))
            if process.poll() is not None:
                self.span *= 0.8  # measured when the machine was busier
        elif wait_until(self.sign, process):
            self.seen += 1
            time.sleep(self.choice.uniform(0, self.window))
