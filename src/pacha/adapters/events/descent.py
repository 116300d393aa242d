"""What a process got from those above it: whose `sudo` it is, and which package manager's work.

Called by `processes` for every process that is new to it. What is above the parent of many short ones is
looked at only once a second. An ancestor is opened by its number, and believed only where it is not younger
than its child.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from pacha.adapters.events import proc, programs
from pacha.core.who import Run

_GENERATIONS = 64
_REMEMBERED = 256
_FRESH_NS = 1_000_000_000
_PACKAGE_MANAGERS = frozenset(
    "apt apt-get aptitude dpkg unattended-upgrade unattended-upgrades "
    "dnf dnf5 dnf-3 microdnf yum rpm zypper apk pacman".split()
)
_CHANGERS = frozenset(("sudo", "su", "doas", "pkexec", "run0"))


class _Ancestor(NamedTuple):
    """One that a process descends from; `directory` is open only while it is looked at."""

    pid: int
    started: int
    program: str  # the script's name where an interpreter runs one
    cmdline: bytes
    directory: int


class Descent(NamedTuple):
    """What a process got from those above it."""

    via: str = ""  # what gave it another user: `sudo`
    caller: int | None = None  # the uid of whoever called that
    is_caller_near: bool = True  # the next ancestor may tell it
    run: Run | None = None  # the outermost package manager
    is_whole: bool = True  # every ancestor was there to be looked at

    def with_ancestor(self, ancestor: _Ancestor, uid: int) -> Descent:
        """The same, one generation further up; `uid` is the process's own."""
        is_changer = ancestor.program in _CHANGERS
        via, caller, is_caller_near = self.via, self.caller, self.is_caller_near
        if is_changer and not via:
            via = ancestor.program
        if via and is_caller_near:
            # sudo makes itself all root, so that who called it is known from its own parent only.
            above = proc.real_uid(ancestor.directory)
            if above not in (None, uid):
                caller = above
            is_caller_near = is_changer and caller is None
        return self._replace(via=via, caller=caller, is_caller_near=is_caller_near)


class Descents:
    """Climbs from parent to parent, and remembers what it found."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[Descent, int]] = {}  # by parent and uid
        self._runs: dict[tuple[int, int], Run] = {}  # by process

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
        self._runs.clear()

    def of(self, status: proc.Status, started: int) -> Descent:
        """Look at all ancestors, or only at the parent if it has just had another child."""
        found = Descent()
        parent: tuple[object, ...] = ()
        for ancestor in _ancestors(status.parent, started):
            if ancestor is None:
                return found._replace(is_whole=False)
            if not parent:
                parent = (*ancestor[:-1], status.uid)
                known, seen_ns = self._known.get(parent, (None, 0))
                if known is not None and time.monotonic_ns() - seen_ns < _FRESH_NS:
                    return known
            found = found.with_ancestor(ancestor, status.uid)
            # Only root's: a script of that name must not let anybody hold his own changes back.
            if ancestor.program in _PACKAGE_MANAGERS and proc.real_uid(ancestor.directory) == 0:
                cmdline = ancestor.cmdline or proc.contents(ancestor.directory, b"cmdline")
                run = self.run_of(ancestor.pid, ancestor.started, ancestor.program, cmdline)
                found = found._replace(run=run)
        if parent:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[parent] = found, time.monotonic_ns()
        return found

    def run_of(self, pid: int, started: int, program: str, cmdline: bytes) -> Run | None:
        """The package manager that a process is, if it is one. It has one command line, even when that can't
        be read any more, and whatever it has become since.
        """
        run = self._runs.get((pid, started))
        if run is None and program in _PACKAGE_MANAGERS:
            run = Run(pid, started, programs.typed(programs.split(cmdline)) or program)
            if len(self._runs) >= _REMEMBERED:
                self._runs.clear()
            self._runs[pid, started] = run
        return run


def _ancestors(pid: int, started: int) -> Iterator[_Ancestor | None]:
    """From the parent up; it ends with None where the next one can't be told for certain."""
    for _ in range(_GENERATIONS):
        if pid <= 0:
            return
        try:
            directory = proc.open_process(pid)
        except OSError:
            yield None
            return
        try:
            stat = proc.stat(directory)
            if stat.started > started:  # the parent has ended, and another process got its number
                yield None
                return
            exe = proc.executable(directory) or stat.name
            cmdline = proc.read(directory, b"cmdline") if programs.is_interpreter(exe) else b""
            program = programs.program_of(exe, programs.split(cmdline))
            yield _Ancestor(pid, stat.started, program, cmdline, directory)
            pid, started = stat.parent, stat.started
        except OSError:
            yield None
            return
        finally:
            os.close(directory)
