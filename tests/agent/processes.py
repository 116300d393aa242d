"""What /proc tells of the processes of an agent: who they are, what they hold, how often they woke up."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.faults.kill import children


def family(agent: int) -> tuple[list[int], list[int]]:
    """(the agent's worker, the worker's Mercurial), each where it is there."""
    workers = children(agent)
    return workers, [child for worker in workers for child in children(worker)]


def megabytes(pid: int) -> float:
    """Proportional memory (PSS) of a process, 0 where it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1000
    return 0.0


def wakeups(pid: int) -> tuple[int, int, int]:
    """How often a process was put on and taken off a CPU by itself or others, and the ticks it has used."""
    status = Path(f"/proc/{pid}/status").read_text()
    voluntary, forced = (
        int(line.split()[1]) for line in status.splitlines() if "voluntary_ctxt_switches" in line
    )
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return voluntary, forced, int(fields[11]) + int(fields[12])


def mapped(pid: int) -> str:
    """Everything that is mapped into a process: its shared libraries and extension modules."""
    return Path(f"/proc/{pid}/maps").read_text()


class Memory:
    """Samples an agent's memory from a thread of its own, from `with` to the end of the block."""

    def __init__(self, agent: int) -> None:
        self.agent = 0.0  # the most that was seen, in MB
        self.children = 0.0  # worker and Mercurial together
        self.samples = 0
        self._pid = agent
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(0.1):
            workers, others = family(self._pid)
            self.agent = max(self.agent, megabytes(self._pid))
            self.children = max(self.children, sum(map(megabytes, [*workers, *others])))
            self.samples += 1


@contextmanager
def login_of(uid: int) -> Iterator[None]:
    """Whatever is started inside has that login uid, as if somebody had logged in; it takes root."""
    before = Path("/proc/self/loginuid").read_text()
    _log_in(str(uid))
    try:
        yield
    finally:
        _log_in(before)


def may_log_in() -> bool:
    """Whether login uids can be set here, and set again; found out in a child."""
    child = os.fork()
    if child == 0:
        try:
            _log_in("1")
            _log_in("2")
            fits = Path("/proc/self/loginuid").read_text() == "2"
        except OSError:
            fits = False
        os._exit(0 if fits else 1)
    return os.waitpid(child, 0)[1] == 0


def _log_in(uid: str) -> None:
    Path("/proc/self/loginuid").write_text(uid)


def is_gone(pid: int) -> bool:
    """Whether a process has ended, even if nobody has waited for it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except OSError:
        return True
