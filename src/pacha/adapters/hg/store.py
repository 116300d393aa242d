"""The store: the history of one host, one Mercurial repository without a working copy and with one line of
revisions.

Called by the operations, which get a `Store` handed in. It speaks of revisions, store paths and bytes; which
live file is behind a path, and whether a revision may be added, is not its business. The Mercurial child
starts with the first request that needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

from pacha.adapters.hg.child import Child
from pacha.core.errors import DamagedStore, NotFound, ReadOnly
from pacha.core.revision import Revision, Stamp, mercurial_date
from pacha.core.tracked import Draft


class Store:
    """One repository at `path` (the folder that holds `.hg`)."""

    def __init__(self, path: bytes, inherited: Callable[[], tuple[int, ...]] = tuple) -> None:
        """`inherited` descriptors are kept open by the Mercurial child: see `adapters/lock`."""
        self.path = path
        self._inherited = inherited
        self._child: Child | None = None
        self._coming: Child | None = None  # started, but not yet spoken to
        self._opened = b""  # which folder the child has open

    # -- state without Mercurial -------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Whether there is a repository."""
        return os.path.exists(os.path.join(self.path, b".hg"))

    def signature(self) -> bytes:
        """Changes with every revision, and costs one stat: empty where there is no history."""
        try:
            status = os.stat(os.path.join(self.path, b".hg", b"store", b"00changelog.i"))
        except OSError:
            return b""
        return b"%d:%d:%d" % (status.st_ino, status.st_size, status.st_mtime_ns)

    @property
    def is_abandoned(self) -> bool:
        """Whether a transaction was left behind that must be undone before anything else."""
        return os.path.lexists(os.path.join(self.path, b".hg", b"store", b"journal"))

    @property
    def has_lock(self) -> bool:
        """Whether there is a lock file of Mercurial's, of a live process or a dead one."""
        return any(
            os.path.lexists(os.path.join(self.path, b".hg", name)) for name in (b"store/lock", b"wlock")
        )

    # -- the child ---------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the repository where there is none."""
        try:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
        except OSError as problem:
            raise ReadOnly(
                f"cannot make the store: {problem.strerror}: {os.fsdecode(self.path)}"
            ) from problem
        self._start(create=True)

    def _identity(self) -> bytes:
        """Which folder is there now: another one may have been put in its place."""
        try:
            status = os.stat(os.path.join(self.path, b".hg"))
        except OSError:
            return b""
        return b"%d:%d" % (status.st_dev, status.st_ino)

    def _start(self, create: bool = False) -> Child:
        if self._child is not None and self._identity() != self._opened:
            self.close()
        if self._child is None:
            # Without this file Mercurial would take the repository for one of its oldest format.
            if not create and not os.path.exists(os.path.join(self.path, b".hg", b"requires")):
                raise DamagedStore(
                    "the store is damaged: .hg/requires is missing", hint="put back a copy of the store"
                )
            child = self._coming or Child(self._inherited())
            self._coming = None
            try:
                child.call("open", self.path, create)
            except BaseException:
                child.close()
                raise
            self._child, self._opened = child, self._identity()
        return self._child

    def turn_to(self, path: bytes) -> None:
        """Go on with another repository, by the same child: a server has many to look through."""
        self.path = path
        if self._child is not None and self.exists:
            self._opened = self._identity()
            self._child.call("open", path, False)

    def prepare(self) -> None:
        """Start the child without waiting for it: it will be needed in a moment."""
        if self._child is None and self._coming is None:
            self._coming = Child(self._inherited())

    def close(self) -> None:
        """End the child, if there is one."""
        for child in (self._child, self._coming):
            if child is not None:
                child.close()
        self._child = self._coming = None

    def recover(self) -> bool:
        """Undo an abandoned transaction; whether there was one. Only under Pacha's own lock."""
        return bool(self._start().call("recover"))

    # -- history -----------------------------------------------------------------------------------

    def tip(self) -> str:
        """The full hash of the newest revision, empty where there is none."""
        return str(self._start().call("tip").decode()) if self.exists else ""

    def commit(self, draft: Draft, parent: str, supply: Callable[[bytes], bytes]) -> str:
        """Add a revision after `parent`; its full hash, once it is on the disk. `supply` gives the bytes
        of each present path whose content is not known.
        """
        request: dict[str, Any] = {
            "parent": parent.encode(),
            "user": draft.author.encode(),
            "date": (mercurial_date(draft.stamp.time_ns), 0),
            "text": draft.message.encode(),
            "extra": {b"pacha": draft.stamp.encode()},
            "present": sorted(draft.present),
            "removed": list(draft.removed),
            "known": dict(draft.known),
        }
        child = self._start()
        contents = (supply(path) for path in request["present"] if path not in draft.known)
        for _ in child.stream("commit", request, contents=contents):
            pass
        return str(child.value.decode())

    def history(self, prefixes: Iterable[bytes] = (), newest: int = -1, limit: int = 0) -> Iterator[Revision]:
        """Revisions from `newest` (a position; -1 is the tip) downwards.

        With `prefixes` only those that touch a store path which equals one, or lies below one that ends in a
        slash.
        """
        if not self.exists:
            return
        for item in self._start().stream("history", list(prefixes), newest, limit):
            yield _revision(item)

    def find(self, prefix: str) -> Revision:
        """The revision whose hash starts with `prefix`; NotFound where there is none or more than one."""
        usable = self.exists and not prefix.lower().strip("0123456789abcdef") and 0 < len(prefix) <= 40
        found = self._start().call("resolve", prefix.lower().encode()) if usable else []
        if len(found) != 1:
            problem = "is more than one revision: give more of it" if found else "is no revision of this host"
            raise NotFound(f"{prefix} {problem}", hint="pacha log lists them")
        return self.at(found[0][0])

    def at(self, position: int) -> Revision:
        """The revision at a position of the line."""
        return next(self.history(newest=position, limit=1))

    def files(self, position: int, prefixes: Iterable[bytes] = ()) -> dict[bytes, bytes]:
        """`{store path: file hash}` of a revision; position -1 is the empty one before the first."""
        return dict(self._start().call("files", position, list(prefixes))) if self.exists else {}

    def difference(self, old: int, new: int) -> dict[bytes, tuple[bytes | None, bytes | None]]:
        """`{store path: (old file hash, new file hash)}` of what differs between two positions."""
        return dict(self._start().call("difference", old, new))

    def contents(self, wanted: Sequence[tuple[bytes, bytes]]) -> Generator[bytes | None]:
        """The bytes of each `(store path, file hash)`, in order; None for one that was forgotten."""
        if wanted:
            yield from self._start().stream("contents", list(wanted))

    def annotate(self, path: bytes, position: int) -> Iterator[tuple[int, bytes]]:
        """`(position of the revision that brought it, bytes)` of each line of a store path, which must be
        there.
        """
        yield from self._start().stream("annotate", path, position)

    # -- care --------------------------------------------------------------------------------------

    def verify(self) -> list[str]:
        """Mercurial's complaints about the store; empty where it is sound."""
        child = self._start()
        complaints = [item.decode("utf-8", "replace") for item in child.stream("verify")]
        if child.value and not complaints:
            complaints.append(f"{child.value} errors")
        return complaints if child.value else []

    def copy(self, path: bytes, *, is_foreign: bool) -> None:
        """Make another repository at `path`, on the disk when this returns: all revisions, and nothing that
        is not history. One that is not foreign was checked when it was written, and its files are copied.
        Raise DamagedStore where the revisions are not one line.
        """
        self._start().call("copy", path, is_foreign)

    def censor(self, path: bytes, keep: bytes = b"") -> int:
        """Remove every stored content of one store path but that with the file hash `keep`; how many there
        were.
        """
        return int(self._start().call("censor", path, keep))


def _revision(item: tuple[int, bytes, bytes, tuple[int, int], bytes, bytes, list[bytes]]) -> Revision:
    position, node, user, _, text, extra, files = item
    try:
        stamp = Stamp.decode(extra)
    except ValueError as problem:
        raise DamagedStore(f"revision {node[:12].decode()} was not made by Pacha") from problem
    author, message = user.decode("utf-8", "replace"), text.decode("utf-8", "replace")
    return Revision(position, node.decode(), author, message, stamp, tuple(files))
