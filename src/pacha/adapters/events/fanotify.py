"""Kernel events by fanotify: which entry of a marked directory changed, and by which process.

Called by the agent through `agent/ports.Source`; `resolve` is `Processes.who`. Single directories are marked,
never a file system or a mount, and no event waits for an answer: nothing that anybody else does is held up.
An event names its directory by a file handle, which is turned into a path as it is by then: a renamed
directory reports its new one. Descriptors of watched file systems are open only while that is done, as they
would be in the way of `umount`. Paths are checked and not trusted, and no content is read.
Sources: fanotify(7), fanotify_init(2), fanotify_mark(2), open_by_handle_at(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pacha.adapters.files import kernel
from pacha.core.events import Event, LimitReached, Unsupported
from pacha.core.names import is_below, join, split
from pacha.core.who import Who

if TYPE_CHECKING:
    from pacha.adapters.files.tree import Directory

# FAN_CLASS_NOTIF (0), FAN_CLOEXEC, FAN_NONBLOCK, FAN_REPORT_DIR_FID and FAN_REPORT_NAME (Linux 5.9).
_INIT = 0x1 | 0x2 | 0x400 | 0x800
_REPORT_PIDFD = 0x80  # Linux 5.15
_MARK_ADD, _MARK_ONLYDIR = 0x1, 0x8
_MODIFY, _ATTRIB, _CLOSE_WRITE = 0x2, 0x4, 0x8
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF, _OVERFLOW = 0x400, 0x800, 0x4000
_ON_CHILD, _ON_DIRECTORY = 0x8000000, 0x40000000
_ENTRIES = _CREATE | _DELETE | _MOVED_FROM | _MOVED_TO | _ON_DIRECTORY
_EVERYTHING = _ENTRIES | _MODIFY | _CLOSE_WRITE | _ATTRIB | _DELETE_SELF | _MOVE_SELF | _ON_CHILD
_INFO_DIRECTORY_NAME, _INFO_DIRECTORY, _INFO_PIDFD = 2, 3, 4
_METADATA = struct.Struct("=IBBHQii")  # length, version, -, length of this, mask, descriptor, pid
_INFO = struct.Struct("=BBH")  # type, -, length
_PIDFD = struct.Struct("=BBHi")  # the same, and the descriptor
_FSID = struct.Struct("=II")
_HANDLE = struct.Struct("=Ii")  # length of what follows, type
_HANDLE_AT_MOST = 128
_AT_EMPTY_PATH = 0x1000
# A buffer's events bring a descriptor each, and a process may have no more than 1,024.
_BUFFER = 16_384
_BUFFERS = 16
_REFUSALS = frozenset(
    (errno.EOPNOTSUPP, errno.EXDEV, errno.ENODEV, errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EOVERFLOW)
)

_libc = ctypes.CDLL(None, use_errno=True)

Resolve = Callable[[int, int | None], Who | None]
Forget = Callable[[], object]


class _Heard(NamedTuple):
    """One event as it was read; `directory` is a file system's id and a file handle, empty at an overflow."""

    mask: int
    directory: bytes
    name: bytes
    who: Who | None


class _Place:
    """A directory of a file system through which its handles are opened, as one mount shows it."""

    __slots__ = ("device", "path")

    def __init__(self, device: int, path: bytes) -> None:
        self.device, self.path = device, path


class Fanotify:
    """One group of marks; see `agent/ports.Source`."""

    mode = "fanotify"

    def __init__(self, root: bytes, resolve: Resolve, forget: Forget = lambda: None) -> None:
        """`forget` is called when nothing has come for a while. Raise Unsupported where the kernel has no
        such events, or not for us.
        """
        self._root = os.path.realpath(root)
        self._resolve = resolve
        self._forget = forget
        self._places: dict[int, dict[int, _Place]] = {}  # by the file system's id, then by mount
        self._descriptor, self._has_pidfds = _new_group()

    def fileno(self) -> int:
        """What becomes readable when there are events."""
        return self._descriptor

    def add(self, directory: Directory, *, entries_only: bool = False) -> None:
        """Mark a directory. The kernel adds to a mark what it does not have yet, and takes nothing away."""
        self._learn(directory)
        mask = _ENTRIES if entries_only else _EVERYTHING
        flags = _MARK_ADD | _MARK_ONLYDIR
        if _mark(self._descriptor, flags, ctypes.c_uint64(mask), directory.descriptor, None) < 0:
            raise _refusal(ctypes.get_errno(), directory.path)

    def forget(self, path: bytes) -> None:
        """The kernel drops the marks of what is removed, and what was moved away reports its new path."""

    def read(self) -> list[Event]:
        """What has come so far: writers are looked up while they run, then the paths are found."""
        heard: list[_Heard] = []
        for _ in range(_BUFFERS):
            try:
                data = os.read(self._descriptor, _BUFFER)
            except BlockingIOError:
                break
            try:
                heard += _parsed(data, self._writers(data))
            finally:
                for descriptor in _pidfds(data):
                    os.close(descriptor)
        return self._merged(heard) if heard else []

    def rest(self) -> None:
        """Let go of the processes that are remembered."""
        self._forget()

    def close(self) -> None:
        """Let go of all marks."""
        os.close(self._descriptor)

    def _learn(self, directory: Directory) -> None:
        """Make sure that the handles of this file system can be opened, and remember by which path."""
        handle, mount = _handle_of(directory)
        device, path = directory.stat.st_dev, directory.path
        number = os.fstatvfs(directory.descriptor).f_fsid
        if not number:
            raise Unsupported("the file system has no id")
        places = self._places.get(number, {})
        place = places.get(mount)
        if place is not None and place.device == device:
            if not is_below(path, place.path):
                place.path = path
            return
        if not places:
            _try_to_open(handle, directory)
        elif any(known.device != device and self._is_there(known) for known in places.values()):
            # A copy of a disk, mounted beside it: whose handle it is could not be told.
            raise Unsupported("another mounted file system has the same id")
        places = {other: known for other, known in places.items() if known.device == device}
        self._places[number] = {**places, mount: _Place(device, path)}

    def _is_there(self, place: _Place) -> bool:
        with _Opener(self._root) as opener:
            return opener.through(place) >= 0

    def _writers(self, data: bytes) -> list[Who | None]:
        """Who made each event of a buffer: found before anything else is done, as many are about to end.

        One process is looked up once, since what it executes is known as of now only.
        """
        writers: list[Who | None] = []
        found: dict[tuple[int, bool], Who | None] = {}
        start = 0
        while start < len(data):
            length, _, _, _, _, _, pid = _METADATA.unpack_from(data, start)
            start += length
            # The last record; without one the process is opened by its number.
            kind, _, size, pidfd = _PIDFD.unpack_from(data, start - _PIDFD.size)
            given = pidfd if self._has_pidfds and (kind, size) == (_INFO_PIDFD, _PIDFD.size) else None
            key = pid, given is None or given >= 0
            if key not in found:
                found[key] = self._resolve(pid, given)
            writers.append(found[key])
        return writers

    def _merged(self, heard: list[_Heard]) -> list[Event]:
        """One event for all that one process did to one path."""
        merged: dict[tuple[bytes | None, Who | None], Event] = {}
        paths: dict[bytes, list[bytes]] = {}
        with _Opener(self._root) as opener:
            for event in heard:
                if event.mask & _OVERFLOW:
                    merged.setdefault((None, None), Event(None))
                    continue
                if event.directory not in paths:
                    paths[event.directory] = self._paths(event.directory, opener)
                for directory in paths[event.directory]:
                    path = join(directory, event.name)
                    known = merged.get((path, event.who))
                    mask = event.mask
                    merged[path, event.who] = Event(
                        path,
                        bool(mask & _ON_DIRECTORY) or (known is not None and known.is_directory),
                        bool(mask & (_CREATE | _MOVED_TO)) or (known is not None and known.appeared),
                        bool(mask & (_DELETE | _MOVED_FROM)) or (known is not None and known.left),
                        event.who,
                    )
        return list(merged.values())

    def _paths(self, directory: bytes, opener: _Opener) -> list[bytes]:
        """Where a directory is now, as the host has it: nowhere if it is gone or outside, and in several
        places only where marks were set through several mounts of its file system.
        """
        found: dict[bytes, None] = {}
        for place in self._places.get(_fsid_number(directory), {}).values():
            path = opener.path_of(place, directory[_FSID.size :])
            if path is None:
                continue
            if self._root == b"/":
                found[path] = None
            elif is_below(path, self._root):
                found[path[len(self._root) :] or b"/"] = None
        return list(found)


class _Opener:
    """Opens handles for the length of one batch."""

    def __init__(self, root: bytes) -> None:
        self._root_path = root
        self._root = -1
        self._open: dict[_Place, int] = {}

    def __enter__(self) -> _Opener:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in (self._root, *self._open.values()):
            if descriptor >= 0:
                os.close(descriptor)

    def through(self, place: _Place) -> int:
        """A descriptor in the mount of that place, -1 where it is gone. Where the directory itself is, those
        above it do as well.
        """
        if place not in self._open:
            self._open[place] = self._nearest(place)
        return self._open[place]

    def _nearest(self, place: _Place) -> int:
        path = place.path
        while True:
            try:
                if self._root < 0:
                    self._root = os.open(self._root_path, kernel.DIRECTORY)
                descriptor = kernel.open_beneath(self._root, path[1:], kernel.DIRECTORY)
            except OSError:
                pass
            else:
                if os.fstat(descriptor).st_dev == place.device:
                    place.path = path
                    return descriptor
                os.close(descriptor)
            if path == b"/":
                return -1
            path = split(path)[0]

    def path_of(self, place: _Place, handle: bytes) -> bytes | None:
        """The path that a handle's directory has now; None where it has none."""
        mount = self.through(place)
        if mount < 0:
            return None
        descriptor = _open_by_handle(mount, handle, kernel.O_PATH)
        if descriptor < 0:  # ESTALE: removed
            return None
        try:
            status = os.fstat(descriptor)
            for _ in range(3):  # it may be renamed just now
                path = os.readlink(kernel.magic(descriptor))
                # A removed one is called "x (deleted)", and one outside of a bind mount has a false path.
                if _is_same(path, status):
                    return path
            return None
        finally:
            os.close(descriptor)


def _is_same(path: bytes, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), status)
    except OSError:
        return False


def _new_group() -> tuple[int, bool]:
    """A descriptor, and whether its events come with pidfds."""
    for has_pidfds in (True, False):
        descriptor = _init(_INIT | _REPORT_PIDFD * has_pidfds, os.O_RDONLY | os.O_CLOEXEC)
        if descriptor >= 0:
            return descriptor, has_pidfds
        if ctypes.get_errno() != errno.EINVAL:
            break
    number = ctypes.get_errno()
    reasons = {
        errno.EINVAL: "the kernel is older than Linux 5.9",
        errno.EPERM: "only root may use fanotify",
        errno.ENOSYS: "the kernel has no fanotify",
        errno.EMFILE: "fs.fanotify.max_user_instances is used up",
    }
    raise Unsupported(reasons.get(number) or os.strerror(number))


def _refusal(number: int, path: bytes) -> Exception:
    if number == errno.ENOSPC:
        return LimitReached("fs.fanotify.max_user_marks is used up")
    if number in _REFUSALS:
        return Unsupported(f"the file system can't be marked: {os.strerror(number)}")
    return OSError(number, os.strerror(number), path)


def _handle_of(directory: Directory) -> tuple[bytes, int]:
    """A directory's handle, and the id of the mount through which it was opened."""
    buffer = ctypes.create_string_buffer(_HANDLE.pack(_HANDLE_AT_MOST, 0), _HANDLE.size + _HANDLE_AT_MOST)
    mount = ctypes.c_int()
    if _name_to_handle(directory.descriptor, b"", buffer, ctypes.byref(mount), _AT_EMPTY_PATH) < 0:
        raise _refusal(ctypes.get_errno(), directory.path)
    length, _ = _HANDLE.unpack_from(buffer)
    return buffer.raw[: _HANDLE.size + length], mount.value


def _try_to_open(handle: bytes, directory: Directory) -> None:
    """Raise Unsupported where a file system gives handles that it can't open again, or lets us open none."""
    descriptor = _open_by_handle(directory.descriptor, handle, kernel.O_PATH)
    if descriptor < 0:
        number = ctypes.get_errno()
        reason = "it takes CAP_DAC_READ_SEARCH" if number == errno.EPERM else os.strerror(number)
        raise Unsupported(f"the file system's handles can't be opened: {reason}")
    os.close(descriptor)


def _fsid_number(directory: bytes) -> int:
    """As statvfs has it: both halves of the id, or one where that is all that fits in."""
    low, high = _FSID.unpack_from(directory)
    number: int = low | high << 32
    return number & ((1 << 8 * ctypes.sizeof(ctypes.c_ulong)) - 1)


def _records(data: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """The records of the event at `start`: kind and content."""
    length, _, _, own_length, _, _, _ = _METADATA.unpack_from(data, start)
    at = start + own_length
    while at < start + length:
        kind, _, size = _INFO.unpack_from(data, at)
        yield kind, data[at + _INFO.size : at + size]
        at += size


def _starts(data: bytes) -> Iterator[int]:
    start = 0
    while start < len(data):
        yield start
        start += _METADATA.unpack_from(data, start)[0]


def _pidfds(data: bytes) -> list[int]:
    """All descriptors that came with a buffer."""
    found = [
        struct.unpack_from("=i", content)[0]
        for start in _starts(data)
        for kind, content in _records(data, start)
        if kind == _INFO_PIDFD
    ]
    return [descriptor for descriptor in found if descriptor >= 0]


def _parsed(data: bytes, writers: list[Who | None]) -> list[_Heard]:
    """All events of a buffer."""
    events = []
    for start, who in zip(_starts(data), writers, strict=True):
        directory = b""
        name = b"."
        for kind, content in _records(data, start):
            if kind in (_INFO_DIRECTORY_NAME, _INFO_DIRECTORY):
                till = _FSID.size + _HANDLE.size + _HANDLE.unpack_from(content, _FSID.size)[0]
                directory = content[:till]
                if kind == _INFO_DIRECTORY_NAME:
                    name = content[till : content.index(b"\0", till)]
        events.append(_Heard(_METADATA.unpack_from(data, start)[4], directory, name, who))
    return events


def _function(name: str, *arguments: type) -> Callable[..., int]:
    function = getattr(_libc, name)
    function.argtypes = arguments
    return function  # type: ignore[no-any-return]


_init = _function("fanotify_init", ctypes.c_uint, ctypes.c_uint)
_mark = _function(
    "fanotify_mark", ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p
)
_name_to_handle = _function(
    "name_to_handle_at", ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int
)
_open_by_handle = _function("open_by_handle_at", ctypes.c_int, ctypes.c_char_p, ctypes.c_int)
