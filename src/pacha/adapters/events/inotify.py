"""Kernel events by inotify: which entry of a marked directory changed, but not by whom.

Called by the agent through `agent/ports.Source` where fanotify does not do: for ordinary users, in
containers, on file systems without lasting handles. A directory is marked through its open descriptor, never
by its path, which somebody else could lead elsewhere meanwhile. An event has the path that its directory had
when it was marked, so `forget` must be called for one that was moved.
"""

from __future__ import annotations

import errno
import os
import sys
import types
from typing import TYPE_CHECKING, Any

from pacha.adapters.files import kernel
from pacha.core.events import Event, LimitReached, Unsupported
from pacha.core.names import is_below, join

if TYPE_CHECKING:
    from pacha.adapters.files.tree import Directory

_MODIFY, _ATTRIB, _CLOSE_WRITE = 0x2, 0x4, 0x8
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF = 0x400, 0x800
_OVERFLOW, _IGNORED, _IS_DIRECTORY = 0x4000, 0x8000, 0x40000000
# IN_ONLYDIR, IN_EXCL_UNLINK (nothing of removed files that are still open), IN_MASK_ADD (marking again takes
# nothing away).
_HOW = 0x1000000 | 0x4000000 | 0x20000000
_ENTRIES = _CREATE | _DELETE | _MOVED_FROM | _MOVED_TO
_EVERYTHING = _ENTRIES | _MODIFY | _CLOSE_WRITE | _ATTRIB | _DELETE_SELF | _MOVE_SELF
_BUFFER = 16_384
_BUFFERS = 16
_REFUSALS = frozenset((errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EXDEV))


class Inotify:
    """One set of watches; see `agent/ports.Source`."""

    mode = "inotify"

    def __init__(self, root: bytes) -> None:
        """Raise Unsupported where there can be none. Paths are the host's own already, whatever `root` is."""
        # Only here, as it is not needed where there is fanotify.
        inotify_simple = _library()
        try:
            self._kernel = inotify_simple.INotify(nonblocking=True)
        except OSError as problem:
            if problem.errno == errno.EMFILE:
                raise Unsupported("fs.inotify.max_user_instances is used up") from problem
            raise Unsupported(os.strerror(problem.errno or 0)) from problem
        self._parse = inotify_simple.parse_events
        self._paths: dict[int, bytes] = {}
        self._removed: set[bytes] = set()

    def fileno(self) -> int:
        """What becomes readable when there are events."""
        number: int = self._kernel.fileno()
        return number

    def add(self, directory: Directory, *, entries_only: bool = False) -> None:
        """Mark a directory; one that is marked already keeps its number, and gets this path."""
        mask = _HOW | (_ENTRIES if entries_only else _EVERYTHING)
        try:
            number = self._kernel.add_watch(kernel.magic(directory.descriptor), mask)
        except OSError as problem:
            if problem.errno == errno.ENOSPC:
                raise LimitReached("fs.inotify.max_user_watches is used up") from problem
            if problem.errno in _REFUSALS:
                raise Unsupported(f"the directory can't be marked: {problem.strerror}") from problem
            raise
        self._paths[number] = directory.path

    def forget(self, path: bytes) -> None:
        """Drop the marks at and below a path. With a removed directory the kernel has done so itself, and
        there was nothing left below it.
        """
        if path in self._removed:
            return
        for number in [number for number, known in self._paths.items() if is_below(known, path)]:
            del self._paths[number]
            try:
                self._kernel.rm_watch(number)
            except OSError:  # gone by itself meanwhile
                pass

    def read(self) -> list[Event]:
        """What has come so far; one event for all that happened to one path."""
        merged: dict[bytes | None, Event] = {}
        removed: set[bytes] = set()
        moved: set[bytes] = set()
        for _ in range(_BUFFERS):
            try:
                data = os.read(self.fileno(), _BUFFER)
            except BlockingIOError:
                break
            for number, mask, _, name in self._parse(data):
                if mask & _OVERFLOW:
                    merged.setdefault(None, Event(None))
                    continue
                directory = self._paths.get(number)
                if mask & _IGNORED:
                    self._paths.pop(number, None)
                if directory is None or mask & _IGNORED:
                    continue
                # An event without a name is the directory's own.
                path = join(directory, os.fsencode(name or "."))
                is_directory = not name or bool(mask & _IS_DIRECTORY)
                left = bool(mask & (_DELETE | _MOVED_FROM | _DELETE_SELF | _MOVE_SELF))
                if left and is_directory:
                    (removed if mask & (_DELETE | _DELETE_SELF) else moved).add(path)
                known = merged.get(path, Event(path))
                merged[path] = Event(
                    path,
                    known.is_directory or is_directory,
                    known.appeared or bool(mask & (_CREATE | _MOVED_TO)),
                    known.left or left,
                )
        self._removed = removed - moved
        return list(merged.values())

    def rest(self) -> None:
        """Nothing is held for a moment only."""

    def close(self) -> None:
        """Let go of all watches."""
        self._kernel.close()


def _library() -> Any:
    """The library, without `ctypes.util`: that would bring `subprocess` and more, a megabyte for the idle
    agent, to find the C library, which is in this process already.
    """
    finder: Any = types.ModuleType("ctypes.util")
    finder.find_library = lambda _: None
    is_ours = sys.modules.setdefault("ctypes.util", finder) is finder
    try:
        import inotify_simple  # type: ignore[import-untyped]
    finally:
        if is_ours:
            del sys.modules["ctypes.util"]
    return inotify_simple
