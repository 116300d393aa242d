"""A host's live tree below its root: directories held open, listed and read.

Called by the operations, which get a `Tree` handed in. Paths are the host's (absolute bytes, as below its
root) and become descriptors here: `openat2` beneath the root and no link followed, then one name at a time
below a directory that is held open. Who swaps a directory for a link meanwhile gets an error, not a way out.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from pacha.adapters.files import kernel
from pacha.adapters.files.accounts import Accounts
from pacha.adapters.files.read import read, read_directory
from pacha.core.names import join, split
from pacha.core.tracked import Reading, Vanished

if TYPE_CHECKING:
    from pacha.adapters.files.write import Workbench

_TEXT_AT_MOST = 10_000_000
_LINKS_AT_MOST = 40  # as the kernel's own limit
# What an entry that is not there answers: its name, or a parent that is gone or is no directory.
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Directory:
    """One open directory of the tree; a context manager."""

    def __init__(self, tree: Tree, path: bytes, descriptor: int) -> None:
        self._tree = tree
        self.path = path
        self.descriptor = descriptor
        self.stat = os.fstat(descriptor)

    def __enter__(self) -> Directory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)

    def names(self) -> list[bytes]:
        """The names of all entries, sorted."""
        return sorted(map(os.fsencode, os.listdir(self.descriptor)))

    def entries(self) -> list[tuple[bytes, os.stat_result]]:
        """(name, lstat) of every entry, sorted; one that vanished meanwhile is left out."""
        found = []
        for name in self.names():
            status = self.lstat(name)
            if status is not None:
                found.append((name, status))
        return found

    def subdirectories(self) -> list[bytes]:
        """The names of the directories in it, in no order; links to directories are none."""
        with os.scandir(self.descriptor) as entries:
            return [os.fsencode(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]

    def lstat(self, name: bytes) -> os.stat_result | None:
        """The entry's own status, None where there is none."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def child(self, name: bytes) -> Directory:
        """The directory `name` in this one; raise Vanished where it is gone or no directory any more."""
        try:
            descriptor = os.open(name, kernel.DIRECTORY, dir_fd=self.descriptor)
        except OSError as problem:
            if problem.errno in ABSENT:
                raise Vanished from problem
            raise
        return Directory(self._tree, join(self.path, name), descriptor)

    def read(self, name: bytes, status: os.stat_result, limit: int) -> Reading:
        """Read the entry `name`, whose status is known; see `read.read`."""
        return read(self.descriptor, name, status, self._tree.accounts, limit)

    def read_self(self) -> Reading:
        """The entry of the directory itself."""
        return read_directory(self.descriptor, self._tree.accounts)


class Tree:
    """All live files of one host, below `root`."""

    def __init__(self, root: bytes) -> None:
        self.root = root
        self.accounts = Accounts(root == b"/", self.content)
        self._root_descriptor = -1

    @property
    def root_descriptor(self) -> int:
        """The root, opened once; OSError where it is not there."""
        if self._root_descriptor < 0:
            self._root_descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._root_descriptor

    def directory(self, path: bytes) -> Directory:
        """Open a directory; OSError with ENOENT, ENOTDIR, ELOOP (a link on the way), EACCES …"""
        return Directory(self, path, kernel.open_beneath(self.root_descriptor, path[1:], kernel.DIRECTORY))

    def lstat(self, path: bytes) -> os.stat_result | None:
        """The entry's own status, None where it or a parent is not there; OSError where that can't be
        told.
        """
        directory, name = split(path)
        try:
            with self.directory(directory) as parent:
                return parent.stat if name == b"." else parent.lstat(name)
        except OSError as problem:
            if problem.errno in ABSENT:
                return None
            raise

    def is_directory(self, path: bytes) -> bool:
        """Whether there is a directory (not a link to one) at that path."""
        status = self.lstat(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def content(self, path: bytes, at_most: int = _TEXT_AT_MOST) -> bytes:
        """The content of a small file, empty where there is none or it cannot be read."""
        directory, name = split(path)
        try:
            with self.directory(directory) as parent:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                with open(os.open(name, flags, dir_fd=parent.descriptor), "rb") as handle:
                    return handle.read(at_most)
        except OSError:
            return b""

    def workbench(self, directory: Directory) -> Workbench:
        """The tools for changing entries of an open directory."""
        from pacha.adapters.files.write import Workbench

        return Workbench(directory, self.accounts)

    def sync_all(self, directory: Directory) -> None:
        """Write everything of the file system that `directory` is on to the disk."""
        kernel.syncfs(directory.descriptor)

    def owned(self, users: Mapping[int, int], groups: Mapping[int, int]) -> Iterator[tuple[bytes, int, int]]:
        """(path, user, group as they shall be) of each entry of whoever gets another number."""
        from pacha.adapters.files.owners import owned

        return owned(self, users, groups)

    def give(self, path: bytes, uid: int, gid: int) -> None:
        """Change the owner of one entry, and nothing else of it."""
        from pacha.adapters.files.owners import give

        give(self, path, uid, gid)

    def resolve(self, path: bytes) -> bytes:
        """The path with the links among its parents resolved, the leaf left as it is, all as seen from the
        root.

        What does not exist stays as it was written. Raise OSError (ELOOP) for a loop.
        """
        pending = [part for part in path.split(b"/") if part not in (b"", b".")][::-1]
        done: list[bytes] = []
        links = 0
        while pending:
            part = pending.pop()
            if part == b"..":
                if done:
                    done.pop()
                continue
            target = self._link_target(b"/" + b"/".join([*done, part])) if pending else None
            if target is None:
                done.append(part)
                continue
            links += 1
            if links > _LINKS_AT_MOST:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if target.startswith(b"/"):
                done = []
            pending.extend([piece for piece in target.split(b"/") if piece not in (b"", b".")][::-1])
        return b"/" + b"/".join(done)

    def _link_target(self, path: bytes) -> bytes | None:
        try:
            descriptor = kernel.open_beneath(self.root_descriptor, path[1:], kernel.O_PATH)
        except OSError as problem:
            if problem.errno == errno.ELOOP:  # openat2 refuses a final link as well: ask its directory
                return self._read_leaf_link(path)
            return None
        try:
            return os.readlink(b"", dir_fd=descriptor) if stat.S_ISLNK(os.fstat(descriptor).st_mode) else None
        finally:
            os.close(descriptor)

    def _read_leaf_link(self, path: bytes) -> bytes | None:
        directory, name = split(path)
        try:
            with self.directory(directory) as parent:
                return os.readlink(name, dir_fd=parent.descriptor)
        except OSError:
            return None
