"""A user without rights who swaps files and folders for symlinks to what only root may see, without pause.

The watched tree holds folders and leaves that this user owns. Beside it lie symlinks to the canary, and the
racer exchanges the two (renameat2, RENAME_EXCHANGE: one instant), so that root finds now the one, now the other.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import random
import shutil
import signal
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from tests.unprivileged import USER, drop_rights

RENAME_EXCHANGE = 2
COUNT = struct.Struct("q")
SECRET = b"canary-7f3d9b12-nobody-but-root-may-read-this"
LONG_AGO = 10**18  # an access time older than the content, so that relatime notes the next reading


class Canary:
    """A folder for root alone, which tells afterwards whether anybody looked or touched."""

    def __init__(self, at: Path, names: list[str]) -> None:
        self.at = at
        at.mkdir(mode=0o700)
        for name in names:
            (at / name).write_bytes(SECRET + b" in " + name.encode() + b"\n")
            (at / name).chmod(0o600)
            os.utime(at / name, ns=(LONG_AGO, LONG_AGO + 10**9))
        os.utime(at, ns=(LONG_AGO, LONG_AGO + 10**9))
        self.before = self.state()

    def state(self) -> dict[str, tuple[object, ...]]:
        """All of it, read without leaving a trace: access times tell of reading, ctimes of any change."""
        found: dict[str, tuple[object, ...]] = {}
        folder = os.open(self.at, os.O_RDONLY | os.O_NOATIME)
        for name in [".", *sorted(os.listdir(folder))]:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            content = b""
            if stat.S_ISREG(status.st_mode):
                with open(os.open(name, os.O_RDONLY | os.O_NOATIME, dir_fd=folder), "rb") as file:
                    content = file.read()
            times = (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
            found[name] = (status.st_mode, status.st_uid, status.st_gid, status.st_nlink, times, content)
        os.close(folder)
        return found

    def traces(self) -> list[str]:
        """What is no longer as it was."""
        now = self.state()
        return [
            f"{name}: was {self.before.get(name)}, is {now.get(name)}"
            for name in sorted(self.before.keys() | now.keys())
            if self.before.get(name) != now.get(name)
        ]


class Racer:
    """The arena of the race, and the process that races in it."""

    def __init__(self, place: Path, folders: int, files: int, leaves: int) -> None:
        self.tree = place / "raced"
        self.spare = place / "spare"
        self.files = [f"f{number}" for number in range(files)]
        self.folders = [f"d{number}" for number in range(folders)]
        self.leaves = [f"leaf{number}" for number in range(leaves)]
        self.canary = Canary(place / "canary", [*self.files, *self.leaves])
        self.place = place
        self.tree.mkdir()
        self.spare.mkdir()
        self.write("first")
        for name in self.folders:
            (self.spare / name).symlink_to(self.canary.at)
        for name in self.leaves:
            (self.spare / name).symlink_to(self.canary.at / name)
        for top in (place, self.tree, self.spare):
            os.chown(top, USER, USER)
        for path in [*self.tree.rglob("*"), *self.spare.iterdir()]:
            os.chown(path, USER, USER, follow_symlinks=False)

    @property
    def entries(self) -> int:
        """Files and links that a capture or rollback of the tree has to deal with while they are raced."""
        return len(self.folders) * (1 + len(self.files)) + len(self.leaves)

    def write(self, what: str) -> None:
        """New content everywhere, by the user that owns it; not while the race is on."""
        for name in self.folders:
            (self.tree / name).mkdir(exist_ok=True)
        for path in [*self.leaves, *[f"{folder}/{name}" for folder in self.folders for name in self.files]]:
            (self.tree / path).write_text(f"{what} content of {path}\n")
            os.chown(self.tree / path, USER, USER)

    @contextmanager
    def running(self, *, swap_root: bool = False) -> Iterator[Callable[[], int]]:
        """Race until the end of the block; what is yielded tells how many exchanges were made so far."""
        counter = mmap.mmap(-1, COUNT.size)
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                self._race(counter, swap_root)
            os._exit(1)
        try:
            yield lambda: int(COUNT.unpack(counter[: COUNT.size])[0])
        finally:
            os.kill(child, signal.SIGTERM)
            _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, "the racer died"

    def _race(self, counter: mmap.mmap, swap_root: bool) -> None:
        """In the child: exchange at random, for good. Paths are relative, as parents may be closed to the user."""
        os.chdir(self.place)
        drop_rights()
        signal.signal(signal.SIGTERM, _leave)
        choice = random.Random(os.getpid())
        exchange = _renameat2()
        names = [os.fsencode(name) for name in (*self.folders, *self.leaves)]
        with suppress(FileExistsError):
            os.symlink(self.canary.at, "root link")
        for turn in itertools.count():
            name = choice.choice(names)
            if exchange(b"raced/" + name, b"spare/" + name) == 0:
                (made,) = COUNT.unpack(counter[: COUNT.size])
                counter[: COUNT.size] = COUNT.pack(made + 1)
            if turn % 50 == 0:
                self._replant(os.fsdecode(name))
            if swap_root and turn % 20 == 0:
                exchange(b"raced", b"root link")
                exchange(b"raced", b"root link")
            if turn % 1000 == 0:
                signal.sigtimedwait([], choice.choice((0, 0.0005, 0.005)))

    def _replant(self, name: str) -> None:
        """A rollback may have replaced the symlink by the real thing: then neither is one any more."""
        spare = Path("spare") / name
        with suppress(OSError):
            if not spare.is_symlink() and not (Path("raced") / name).is_symlink():
                if spare.is_dir():
                    shutil.rmtree(spare)
                else:
                    spare.unlink(missing_ok=True)
                spare.symlink_to(self.canary.at / name if name in self.leaves else self.canary.at)


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(0)


def _renameat2() -> Callable[[bytes, bytes], int]:
    libc = ctypes.CDLL(None, use_errno=True)

    def exchange(one: bytes, other: bytes) -> int:
        answer: int = libc.renameat2(-100, one, -100, other, RENAME_EXCHANGE)
        return answer

    return exchange
