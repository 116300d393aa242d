"""A place to try a plan in: the live tree with a layer over it that nobody else sees.

Called by `ops/receive` through the host. The process enters a mount namespace of its own; over each
directory that is to change lies an overlay (overlayfs, mount_namespaces(7)) whose upper layer is in memory,
and what was mounted below is bound back, to be read only. What runs inside sees one whole tree, the new over
the old; what is written there is gone when the process has left. It must not decide what is written, or what
a failure means: that the kernel or a file system cannot do it is Unavailable, with the reason.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from pacha.adapters.files.tree import Tree
from pacha.adapters.journal import Journals
from pacha.adapters.mounts import mount_points
from pacha.core.errors import Unavailable
from pacha.core.names import is_below

_CLONE_NEWNS = 0x20000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND = 0x1, 0x2, 0x4, 0x20, 0x1000
_MS_REC, _MS_SLAVE = 0x4000, 0x80000
# Of statvfs(3), and the same of mount(2).
_KEPT = (
    (os.ST_NOSUID, _MS_NOSUID), (os.ST_NODEV, _MS_NODEV), (os.ST_NOEXEC, 0x8),
    (os.ST_NOATIME, 0x400), (os.ST_NODIRATIME, 0x800), (os.ST_RELATIME, 0x200000),
)  # fmt: skip
_HERE = "/proc/self/ns/mnt"

_libc = ctypes.CDLL(None, use_errno=True)


class Preflight:
    """Where plans of one root are tried; `folder`, in the state folder, is where the upper layers are."""

    def __init__(self, root: bytes, folder: str) -> None:
        self._root = root
        self._folder = folder

    @contextmanager
    def laid(self, directories: Sequence[bytes]) -> Iterator[tuple[Tree, Journals]]:
        """The tree with a layer over these directories, and a place for journals.

        Everything that this process does by path happens there until it has left. Raise Unavailable where it
        cannot be done; then nothing has changed.
        """
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        with _coming_back():
            yield self._enter(directories)

    def _enter(self, directories: Sequence[bytes]) -> tuple[Tree, Journals]:
        if b"/" not in mount_points():
            raise Unavailable("/ is here no file system of its own, as in a chroot")
        _mount("none", "/", "", _MS_REC | _MS_SLAVE)
        _mount("tmpfs", self._folder, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0700")
        before = Tree(self._root)
        points = mount_points()
        top = os.path.realpath(self._root).rstrip(b"/")
        places = {top + directory.rstrip(b"/"): directory for directory in directories}
        if b"" in places:
            raise Unavailable("an entry of / itself is to change, over which nothing can be laid")
        with ExitStack() as stack:  # all are opened before any is hidden by a layer
            lower = {
                place: stack.enter_context(before.directory(places[place]))
                for place in _to_cover(places, points)
            }
            for number, (place, live) in enumerate(lower.items()):
                below = [point for point in points if point != place and is_below(point, place)]
                self._lay(number, live.descriptor, live.stat, place, below)
        os.close(before.root_descriptor)
        journal = os.path.join(self._folder, "journal")
        return Tree(self._root), Journals(journal)

    def _lay(
        self, number: int, lower: int, status: os.stat_result, place: bytes, below: Sequence[bytes]
    ) -> None:
        """One overlay, with what was mounted below it bound back: to be read, as that is the live one."""
        upper, work = (os.path.join(self._folder, f"{kind}{number}") for kind in ("upper", "work"))
        os.mkdir(upper)
        os.mkdir(work)
        os.chown(upper, status.st_uid, status.st_gid)
        os.chmod(upper, status.st_mode & 0o7777)
        kept = [os.open(point, os.O_PATH | os.O_CLOEXEC) for point in below]
        try:
            # By descriptor: no name in it needs escaping, and nobody can put another directory there.
            _mount(
                "overlay",
                place,
                "overlay",
                0,
                f"lowerdir=/proc/self/fd/{lower},upperdir={upper},workdir={work}",
            )
            for point, descriptor in zip(below, kept, strict=True):
                _mount(f"/proc/self/fd/{descriptor}", point, "", _MS_BIND)
                _mount("none", point, "", _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _kept_flags(descriptor))
        finally:
            for descriptor in kept:
                os.close(descriptor)


def _to_cover(places: Iterable[bytes], points: Sequence[bytes]) -> list[bytes]:
    """The places that need a layer of their own, those above first: what lies below another one, and on the
    same mount, has that one's.
    """

    def mount_of(place: bytes) -> bytes:
        return max((point for point in points if is_below(place, point)), key=len, default=b"/")

    chosen: list[bytes] = []
    for place in sorted(places, key=len):
        if not any(is_below(place, one) and mount_of(place) == mount_of(one) for one in chosen):
            chosen.append(place)
    return chosen


def _kept_flags(descriptor: int) -> int:
    """What holds of a mount anyway: who is root in a container only may not take it away."""
    flags = os.fstatvfs(descriptor).f_flag
    return sum(value for name, value in _KEPT if flags & name)


@contextmanager
def _coming_back() -> Iterator[None]:
    """A mount namespace of our own, and afterwards the one where everybody else is, with the same root and
    working directory: setns(2) would leave us in that of the namespace, outside of a chroot. A process that
    cannot go back must do nothing more.
    """
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    with ExitStack() as stack:
        home, root, here = (
            _closing(stack, os.open(path, how))
            for path, how in ((_HERE, os.O_RDONLY | os.O_CLOEXEC), ("/", flags), (".", flags))
        )
        _check(_libc.unshare(_CLONE_NEWNS), "a mount namespace of its own")
        try:
            yield
        finally:
            try:
                if _libc.setns(home, _CLONE_NEWNS) != 0:
                    os._exit(70)
                os.fchdir(root)
                os.chroot(".")
                os.fchdir(here)
            except OSError:
                os._exit(70)


def _closing(stack: ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _mount(source: str, target: str | bytes, kind: str, flags: int, options: str = "") -> None:
    path = target if isinstance(target, bytes) else target.encode()
    done = _libc.mount(source.encode(), path, kind.encode(), ctypes.c_ulong(flags), options.encode())
    _check(done, f"{kind or 'a mount'} at {os.fsdecode(path)}")


def _check(result: int, what: str) -> None:
    if result != 0:
        raise Unavailable(f"{what}: {os.strerror(ctypes.get_errno())}")
