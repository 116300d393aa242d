"""What /proc tells of one process: read through its directory there, held open.

Called by `processes` and `descent`. As long as anything can be read through such a directory, it is of the
same process, also after its end until its parent has waited for it; then reading fails, even where another
process has got the number. It remembers nothing. Source: proc(5).
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from pacha.core.shown import printable

NOBODY = "4294967295"  # loginuid and sessionid where nobody logged in
_READ_AT_MOST = 4096  # of a command line: more than is shown
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_UNITS = (".service", ".scope", ".socket", ".mount", ".swap")
_FIELDS = re.compile(rb"^(Name|PPid|Uid):\t([^\t\n]*)", re.MULTILINE)
_LAST = 1 << 63


class Status(NamedTuple):
    """Of /proc/PID/status what is of use; it is there until the process has been waited for."""

    name: bytes
    parent: int
    uid: int  # the real one


class Stat(NamedTuple):
    """Of /proc/PID/stat what is of use."""

    name: bytes
    parent: int
    started: int  # clock ticks after boot


class Look(NamedTuple):
    """What a process executes, both empty where it has ended or is one of the kernel's; and for whom."""

    exe: bytes
    cmdline: bytes
    status: Status

    @property
    def program(self) -> tuple[bytes, bytes, int]:
        """What tells one program of a process from the next that it executes."""
        return self.exe, self.cmdline, self.status.uid


def open_process(pid: int) -> int:
    """The directory of whatever process has that number now; OSError where there is none."""
    return os.open(b"/proc/%d" % pid, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def is_taken(pid: int) -> bool:
    """Whether any process may have that number."""
    try:
        os.stat(b"/proc/%d" % pid)
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return True


def look_at(directory: int) -> Look | None:
    """What the process executes, and as whom; None where it is gone."""
    try:
        before = executable(directory)
        for _ in range(3):
            cmdline = read(directory, b"cmdline")
            after = executable(directory)
            if after == before:  # no other program was executed meanwhile
                return Look(after, cmdline, status(directory))
            before = after
    except OSError:
        pass
    return None


def executable(directory: int) -> bytes:
    """The path of the program, empty where there is none or it is hidden."""
    try:
        return os.readlink(b"exe", dir_fd=directory)
    except (FileNotFoundError, PermissionError):  # a kernel thread has none, nor what has ended
        return b""


def read(directory: int, name: bytes) -> bytes:
    """A file, as far as it is of use."""
    descriptor = os.open(name, _OPEN, dir_fd=directory)
    try:
        return os.read(descriptor, _READ_AT_MOST)
    finally:
        os.close(descriptor)


def contents(directory: int, name: bytes) -> bytes:
    """A file, empty where there is none or the process is gone."""
    try:
        return read(directory, name)
    except OSError:
        return b""


def text(directory: int, name: bytes) -> str:
    """A file of words, empty likewise."""
    return contents(directory, name).decode("utf-8", "replace").strip()


def status(directory: int) -> Status:
    """The kernel makes a line of each field, whatever a process calls itself."""
    found = dict(_FIELDS.findall(read(directory, b"status")))
    return Status(found[b"Name"], int(found[b"PPid"]), int(found[b"Uid"]))


def real_uid(directory: int) -> int | None:
    """Whose process it is; None where it is gone."""
    try:
        return status(directory).uid
    except OSError:
        return None


def stat(directory: int) -> Stat:
    """The second field, in parentheses, may hold anything, parentheses too."""
    head, _, tail = read(directory, b"stat").rpartition(b") ")
    fields = tail.split()
    return Stat(head.partition(b" (")[2], int(fields[1]), int(fields[19]))


def started(directory: int) -> int:
    """When the process was started, later than any other where it is gone."""
    try:
        return stat(directory).started
    except OSError:
        return _LAST


def unit(cgroup: str) -> str:
    """The systemd unit that the process belongs to, of the one hierarchy that systemd keeps."""
    for line in cgroup.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" or controllers == "name=systemd":
            for part in reversed(path.split("/")):
                if part.endswith(_UNITS):
                    return printable(part)
    return ""


def session(audited: str, unit: str) -> str:
    """The number of the login session: the kernel's, or else that of systemd-logind."""
    if audited and audited != NOBODY:
        return audited
    if unit.startswith("session-") and unit.endswith(".scope"):
        return unit.removeprefix("session-").removesuffix(".scope")
    return ""
