"""Strike one run of a command at its n-th system call: kill it there, or let the call fail.

A recorded run tells which calls write to the places of the test and how often. strace counts calls for each
process by itself, so the same number means one instant in Pacha's own process and another in Mercurial's:
points of the store are therefore told apart by their paths, which only the latter opens.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.command import Pacha, Result

# Every call by which a process changes what is on the disk, but for `close`.
WRITING = (
    "open", "openat", "openat2", "creat", "write", "writev", "pwrite64", "pwritev", "pwritev2", "sendfile", "copy_file_range",
    "truncate", "ftruncate", "fallocate", "fsync", "fdatasync", "syncfs", "sync_file_range", "msync",
    "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "link", "linkat", "symlink", "symlinkat",
    "mkdir", "mkdirat", "mknod", "mknodat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat",
    "utimensat", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "ioctl",
)  # fmt: skip
OPENING = ("open", "openat", "openat2")
DATA = ("write", "pwrite64", "writev", "pwritev", "copy_file_range", "sendfile", "ftruncate", "fallocate")
SYNC = ("fsync", "fdatasync", "syncfs")
NAMES = (
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
    "symlinkat",
    "openat",
    "openat2",
)

_CALL = re.compile(r"^(?P<pid>\d+) +(?P<call>\w+)\((?P<args>.*)")
_PLACE = re.compile(r'"(?P<name>(?:[^"\\]|\\.)*)"|<(?P<opened>/[^<>]*)>')
_WRITING_OPEN = re.compile(r"O_WRONLY|O_RDWR|O_CREAT")
_IOCTL_OF_FLAGS = "FS_IOC_SETFLAGS"
_RANDOM_NAME = re.compile(r"/\.pacha\.[^/]*$|-[0-9a-z_]{8}(\.tmp)?$|~$")


@dataclass(frozen=True)
class Point:
    """One instant of a run: the n-th call of this name in a process, counting only `paths` if there are any."""

    call: str
    nth: int
    paths: tuple[str, ...] = ()
    about: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.call} no. {self.nth} ({self.about})"

    def options(self, effect: str, log: Path, *, onwards: bool = False) -> tuple[str, ...]:
        """The words to put before a command so that `effect` (as strace has it) strikes at this instant.

        The log tells afterwards whether it did: a run may make fewer calls than the recorded one.
        """
        only = [word for path in self.paths for word in ("-P", path)]
        when = f"{self.nth}{'+' if onwards else ''}"
        trace = ("-e", f"trace={self.call}", "-e", f"inject={self.call}:{effect}:when={when}")
        return (
            "strace",
            "-f",
            "-e",
            "quiet=attach,personality,path-resolution",
            "-o",
            str(log),
            *only,
            *trace,
        )


@dataclass(frozen=True)
class Call:
    """A recorded call: its number among those of its name in its process, where it worked, whether it changes."""

    pid: int
    name: str
    nth: int
    paths: tuple[str, ...]
    writes: bool


def record(pacha: Pacha, log: Path, *args: str | Path) -> tuple[Result, list[Call]]:
    """Run a command under strace; what it said, and all its calls of the kinds that may write."""
    known = ",".join(f"?{call}" for call in WRITING)
    watch = ("strace", "-f", "-y", "-e", "quiet=all", "-s", "4096", "-o", str(log), "-e", f"trace={known}")
    result = pacha.run(*args, before=watch)
    seen: Counter[tuple[int, str]] = Counter()
    calls = []
    for line in log.read_text(errors="surrogateescape").splitlines():
        if match := _CALL.match(line):
            pid, name, args_text = int(match["pid"]), match["call"], match["args"]
            seen[pid, name] += 1
            calls.append(Call(pid, name, seen[pid, name], _paths(args_text), _writes(name, args_text)))
    return result, calls


def _writes(name: str, args: str) -> bool:
    if name in OPENING:
        return bool(_WRITING_OPEN.search(args))
    return name != "ioctl" or _IOCTL_OF_FLAGS in args


def _paths(args: str) -> tuple[str, ...]:
    """Absolute paths among the arguments, names beneath an open directory joined to it."""
    found: list[str] = []
    for match in _PLACE.finditer(args):
        if match["opened"]:
            found.append(match["opened"])
        elif match["name"].startswith("/"):
            found.append(match["name"])
        elif found:
            found.append(f"{found[-1]}/{match['name']}")
    return tuple(path.removesuffix(" (deleted)") for path in found)


def points(calls: list[Call], places: list[Path], store: Path) -> list[Point]:
    """Every instant at which the recorded run changed something below `places`, in the order of the run.

    A call on a file with a random name can only be found by its number among all calls of its name.
    """
    written = {path for call in calls if call.writes for path in call.paths if not _RANDOM_NAME.search(path)}
    in_store = _below(written, [store])
    elsewhere = tuple(path for path in _below(written, places) if path not in in_store)
    found: dict[Point, None] = {}
    counts: Counter[tuple[int, str, tuple[str, ...]]] = Counter()
    for call in calls:
        group = next((group for group in (in_store, elsewhere) if set(group) & set(call.paths)), ())
        counts[call.pid, call.name, group] += 1
        if call.writes and _below(set(call.paths), [*places, store]):
            nth = counts[call.pid, call.name, group] if group else call.nth
            found[Point(call.name, nth, group, call.paths[-1])] = None
    return list(found)


def _below(paths: set[str], places: list[Path]) -> tuple[str, ...]:
    prefixes = tuple(f"{place}/" for place in places)
    return tuple(sorted(path for path in paths if f"{path}/".startswith(prefixes)))


def struck(log: Path) -> bool:
    """Whether the blow fell: an error was injected, or a process killed."""
    told = log.read_text(errors="surrogateescape")
    return "(INJECTED)" in told or "killed by SIGKILL" in told


def spread(found: list[Point], most: int) -> list[Point]:
    """At most so many points, evenly over the run; all of them where `most` is 0."""
    if not most or len(found) <= most:
        return found
    return [found[number * len(found) // most] for number in range(most)]
