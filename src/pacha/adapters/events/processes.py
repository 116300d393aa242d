"""Which process wrote: read from /proc while it still runs, or remembered for a moment after it has ended.

Called by the fanotify source for every event, before anything slow: a `tee` lives for a millisecond. What is
told is certain or missing. A process is opened as a directory of /proc, and once its pidfd has been seen
alive after that, whatever can be read through the directory is its own: reads fail when it has ended, whoever
gets the number next. It must not raise for a process that is gone or hidden, nor hold descriptors while the
agent is idle.
"""

from __future__ import annotations

import os
import pwd
import signal
import time

from pacha.adapters.events import proc, programs
from pacha.adapters.events.descent import Descents
from pacha.core.shown import printable
from pacha.core.who import Who

REMEMBERED = 256  # processes, one descriptor each
NO_PIDFD, BROKEN_PIDFD = -1, -2  # from the kernel: the process has ended; its pidfd could not be made
_FRESH_NS = 10_000_000_000  # how long a running process is remembered
_GONE_NS = 1_000_000_000  # and one that has ended: numbers are given out in a circle


class _Known:
    """A process that has been looked at; its directory of /proc is held open."""

    __slots__ = ("directory", "look", "seen_ns", "who")

    def __init__(self, directory: int, look: proc.Look, who: Who, seen_ns: int) -> None:
        self.directory, self.look, self.who, self.seen_ns = directory, look, who, seen_ns

    def is_ended_as(self, look: proc.Look) -> bool:
        """Whether `look`, at a process of the same number, shows what this one left when it ended."""
        return (
            not (look.exe or look.cmdline)
            and look.status.name == self.look.status.name
            and proc.real_uid(self.directory) is not None
        )


class Processes:
    """Finds out who a process is, and remembers the last ones."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}  # the one used last comes last
        self._descents = Descents()
        self._names: dict[int, str] = {}

    def who(self, pid: int, pidfd: int | None) -> Who | None:
        """Who runs as `pid`; `pidfd` is what the kernel gave with the event, None where it gives none.

        None where that can't be told for certain.
        """
        now_ns = time.monotonic_ns()
        self._purge(now_ns - _FRESH_NS)
        if pid <= 0:  # a process outside of this container
            return None
        own = -1
        try:
            if pidfd is None:
                pidfd = own = _open_pidfd(pid)
            if pidfd == BROKEN_PIDFD:
                known = self._known.get(pid)
                return self._again(pid, known, now_ns) if known is not None else None
            if pidfd >= 0:
                found = self._running(pid, pidfd, now_ns)
                if found is not None:
                    return found
            return self._ended(pid, now_ns)
        finally:
            if own >= 0:
                os.close(own)

    def forget_old(self) -> bool:
        """To be called by the idle agent: let go of processes not heard of for a second.

        True where some are left, so that it wants to be called again a second later.
        """
        self._purge(time.monotonic_ns() - _GONE_NS)
        self._descents.clear()
        self._names.clear()
        return bool(self._known)

    def close(self) -> None:
        """Let go of everything."""
        for pid in list(self._known):
            self._drop(pid)

    def _running(self, pid: int, pidfd: int, now_ns: int) -> Who | None:
        """Of a process that has not been waited for yet, None where it has."""
        known = self._known.get(pid)
        if known is not None:
            found = self._again(pid, known, now_ns)
            # Both there at one time with one number: they are the same.
            if found is not None and _is_there(pidfd):
                return found
        try:
            directory = proc.open_process(pid)
        except OSError:
            return None
        is_kept = False
        try:
            if not _is_there(pidfd):
                return None
            look = proc.look_at(directory)
            if look is None:
                return None
            if known is not None and known.is_ended_as(look):
                return known.who
            who = self._describe(pid, directory, look)
            if who is None:
                return None
            self._keep(pid, _Known(directory, look, who, now_ns))
            is_kept = True
            return who
        finally:
            if not is_kept:
                os.close(directory)

    def _again(self, pid: int, known: _Known, now_ns: int) -> Who | None:
        """Of a process that is known and still runs; it may execute another program by now."""
        look = proc.look_at(known.directory)
        if look is None or not (look.exe or look.cmdline):
            return None
        if look.program != known.look.program:
            who = self._describe(pid, known.directory, look)
            if who is None:
                return None
            known.who, known.look = who, look
        known.seen_ns = now_ns
        self._known[pid] = self._known.pop(pid)
        return known.who

    def _ended(self, pid: int, now_ns: int) -> Who | None:
        """Of a process that is no more: as it was a moment ago, if nobody has its number now."""
        known = self._known.get(pid)
        if known is None or now_ns - known.seen_ns > _GONE_NS:
            return None
        return None if proc.is_taken(pid) else known.who

    def _keep(self, pid: int, known: _Known) -> None:
        self._drop(pid)
        while len(self._known) >= REMEMBERED:
            self._drop(next(iter(self._known)))
        self._known[pid] = known

    def _drop(self, pid: int) -> None:
        known = self._known.pop(pid, None)
        if known is not None:
            os.close(known.directory)

    def _purge(self, since_ns: int) -> None:
        while self._known:
            pid = next(iter(self._known))
            if self._known[pid].seen_ns >= since_ns:
                return
            self._drop(pid)

    def _describe(self, pid: int, directory: int, look: proc.Look) -> Who | None:
        """Everything else about a process; the look has been taken first, as it is what goes first.

        None of one of root's where it is not known whether somebody became root for it.
        """
        login_uid = proc.text(directory, b"loginuid")
        session = proc.text(directory, b"sessionid")
        unit = proc.unit(proc.text(directory, b"cgroup"))
        started = proc.started(directory)
        user = self._name(look.status.uid)
        login = self._name(int(login_uid)) if login_uid.isdigit() and login_uid != proc.NOBODY else ""
        arguments = programs.split(look.cmdline)
        program = programs.program_of(look.exe or look.status.name, arguments)
        run = None
        if look.status.uid == 0:
            run = self._descents.run_of(pid, started, program, look.cmdline)
        descent = self._descents.of(look.status, started)
        if not login and descent.caller is not None:
            login = self._name(descent.caller)
        if not login and look.status.uid == 0 and not descent.is_whole:
            return None
        return Who(
            pid=pid,
            user=user,
            login=login,
            exe=programs.shown(look.exe.removesuffix(programs.DELETED)),
            command=programs.as_command(arguments) or programs.shown(look.status.name),
            via=descent.via if login and login != user else "",
            session=proc.session(session, unit),
            unit=unit,
            run=descent.run or run,
        )

    def _name(self, uid: int) -> str:
        name = self._names.get(uid)
        if name is None:
            try:
                name = printable(pwd.getpwuid(uid).pw_name)
            except (KeyError, OverflowError):
                name = str(uid)
            if len(self._names) >= REMEMBERED:
                self._names.clear()
            self._names[uid] = name
        return name


def _open_pidfd(pid: int) -> int:
    """For a kernel that gives no pidfd with its events."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return NO_PIDFD
    except OSError:
        return BROKEN_PIDFD


def _is_there(pidfd: int) -> bool:
    """Whether the process still has its number; also one that has ended, until its parent waits for it."""
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return False
    except OSError:  # not ours to signal
        pass
    return True
