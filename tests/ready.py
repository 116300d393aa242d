"""Receivers that stay ready after a push: found, waited for, ended. By what the kernel says of processes."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from tests.agents import until
from tests.faults.kill import children


def receivers(place: Path) -> list[int]:
    """Those of hosts below `place`, with the forks that are at work."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            words = Path("/proc", name, "cmdline").read_bytes().split(b"\0")
            if b"--ready" in words and any(os.fsencode(place) in word for word in words):
                found.append(int(name))
    return found


def first(place: Path) -> int:
    """The one that is ready, once it has recorded what was pushed."""

    def alone() -> int | None:
        here = receivers(place)
        return here[0] if len(here) == 1 and is_listening(here[0]) else None

    found = until(alone)
    assert found is not None
    return found


def is_listening(pid: int) -> bool:
    """Whether a process has a socket open."""
    with suppress(OSError):
        return any(os.readlink(each).startswith("socket:") for each in Path(f"/proc/{pid}/fd").iterdir())
    return False


def workers(place: Path) -> list[int]:
    """The forks at work for the receivers below `place`."""
    here = set(receivers(place))
    return [child for pid in here for child in children(pid) if child in here]


def end(place: Path) -> None:
    """End them all; the forks that record are idle, and may get no time to end by themselves."""
    forks = workers(place)
    for pid in receivers(place):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL if pid in forks else signal.SIGTERM)
    until(lambda: not receivers(place))
