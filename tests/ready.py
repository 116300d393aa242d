"""Receivers that stay ready after a push: found, waited for, ended. By what the kernel says of processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.agents import until
from tests.faults.kill import children


@pytest.fixture(autouse=True)
def no_receiver_stays(tmp_path: Path) -> Iterator[None]:
    """For the folders whose tests push: none outlives the test that it stayed ready for."""
    yield
    end(tmp_path)


def receivers(place: Path) -> list[int]:
    """Those of hosts below `place`, with the forks that are at work or record."""
    return [pid for pid, words in running(place, b"receive").items() if b"--ready" in words]


def running(place: Path, word: bytes) -> dict[int, list[bytes]]:
    """The words of each process of the hosts below `place` that was started with a certain one."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            words = Path("/proc", name, "cmdline").read_bytes().split(b"\0")
            if word in words and os.fsencode(place) in Path("/proc", name, "environ").read_bytes():
                found[int(name)] = words
    return found


def first(place: Path) -> int:
    """The one that is ready; what was pushed may not be recorded yet."""

    def alone() -> int | None:
        here = listeners(place)
        return here[0] if len(here) == 1 else None

    found = until(alone)
    assert found is not None
    return found


def listeners(place: Path) -> list[int]:
    """Those that wait for a push or are at one; who records has no socket."""
    return [pid for pid in receivers(place) if is_listening(pid)]


def is_listening(pid: int) -> bool:
    """Whether a process has a socket open."""
    with suppress(OSError):
        return any(os.readlink(each).startswith("socket:") for each in Path(f"/proc/{pid}/fd").iterdir())
    return False


def workers(place: Path) -> list[int]:
    """The forks at work for the receivers below `place`."""
    here = set(listeners(place))
    return [child for pid in here for child in children(pid) if child in here]


def worker(place: Path) -> int:
    """The only one; a hook that it starts looks like another until it has become its program."""
    (found,) = until(lambda: here if len(here := workers(place)) == 1 else None) or ()
    return found


def end(place: Path) -> None:
    """End them all, also what has not become one yet."""

    def ended() -> bool:
        forks = workers(place)
        here = running(place, b"receive")
        for pid in here:
            # Who records is idle, and may get no time to end by itself.
            is_listener = pid not in forks and is_listening(pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM if is_listener else signal.SIGKILL)
        return not here

    until(ended)
