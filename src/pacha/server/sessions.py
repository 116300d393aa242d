"""The open sessions of one host: a file for each, held by its process, so that another can find and end it.

Called by the registry. A process number alone proves nothing, since numbers are used again: a session is
known by the lock on its file, which the kernel lets go of when the process dies.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pacha.adapters.lock import is_held, open_lock, take

_GRACE = 5.0
_PAUSE = 0.02


class Sessions:
    """Those with a file in `folder`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    @contextmanager
    def open(self) -> Iterator[None]:
        """Be one of them."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        path = os.path.join(self._folder, str(os.getpid()))
        file = open_lock(path)
        try:
            take(file)
            yield
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)
            os.close(file)

    def pids(self) -> list[int]:
        """The processes of those that are open."""
        try:
            names = [name for name in os.listdir(self._folder) if name.isdigit()]
        except FileNotFoundError:
            return []
        return [int(name) for name in names if is_held(os.path.join(self._folder, name))]

    def end(self) -> int:
        """End them all with their connections, but not the caller's own; how many there were."""
        own = {os.getpid(), *_line_of(os.getpid())}
        pids = [pid for pid in self.pids() if pid not in own]
        # The connection as well: another session could be opened in it.
        targets = {pid: [pid, *_connection(pid)] for pid in pids}
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.pids():
                for target in targets.get(pid, ()):
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(target, number)
            deadline = time.monotonic() + _GRACE
            while set(self.pids()) & set(pids) and time.monotonic() < deadline:
                time.sleep(_PAUSE)
        return len(pids)


def _line_of(pid: int) -> list[int]:
    """The process's parent, that one's parent, and so on."""
    found = []
    while (pid := _parent(pid)) > 1:
        found.append(pid)
    return found


def _connection(pid: int) -> list[int]:
    """The sshd process that serves the connection which a session came by, where that is to be seen: the
    nearest above it of that name and of our own user.
    """
    for above in _line_of(pid):
        if _name(above).startswith("sshd"):
            return [above] if _is_one_connection(above) else []
    return []


def _is_one_connection(pid: int) -> bool:
    """Whether a process of that name serves one connection; the listener has no sshd above it."""
    return any(_name(above).startswith("sshd") for above in _line_of(pid))


def _parent(pid: int) -> int:
    return int(_stat(pid)[1][1])


def _name(pid: int) -> str:
    return _stat(pid)[0]


def _stat(pid: int) -> tuple[str, list[str]]:
    """Name, and what /proc says behind it (state, parent …); of a process that is gone, nothing."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            head, _, rest = file.read().rpartition(")")
    except OSError:
        return "", ["", "0"]
    return head.partition("(")[2], rest.split()
