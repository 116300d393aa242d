"""Single live entries, each read once and compared with nothing: what a push is about.

Called by `ops/receive_plan` and `ops/undo`. No scan, no index: the paths are known. A secret's entry has its
keyed digest, so that it can be compared with one of the store. It changes nothing.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pacha.core.entry import DIRECTORY, FILE, Entry
from pacha.core.errors import Refused
from pacha.core.names import join, split
from pacha.core.parcel_line import FILE_AT_MOST, ITEMS_AT_MOST
from pacha.core.shown import shown
from pacha.core.tracked import Reading, Vanished
from pacha.ops.secrets import sealed_entry

if TYPE_CHECKING:
    from pacha.ops.host import Host


class Look:
    """The live entries that a plan is about, each read once."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.entries: dict[bytes, Entry] = {}
        self._parents: dict[bytes, bool] = {}

    def is_there(self, parent: bytes) -> bool:
        """Whether there is a directory above what is delivered; Refused where something else is."""
        if parent not in self._parents:
            status = self._host.tree.lstat(parent)
            if status is not None and stat.S_ISLNK(status.st_mode):
                leads = shown(split(self._host.tree.resolve(parent + b"/x"))[0])
                raise Refused(
                    f"{shown(parent)} is a symbolic link, and Pacha follows none",
                    hint=f"deliver to where it leads: {leads}",
                )
            if status is not None and not stat.S_ISDIR(status.st_mode):
                hint = "move it away, or have a pre-push hook do that"
                raise Refused(f"{shown(parent)} is no directory", hint=hint)
            self._parents[parent] = status is not None
        return self._parents[parent]

    def at(self, path: bytes) -> Entry | None:
        """The entry at a path; None where there is none."""
        if path not in self.entries:
            try:
                found = self.reading(path)
            except OSError as problem:
                if problem.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    return None
                raise Refused(f"{shown(path)} cannot be read: {problem.strerror}") from problem
            except Vanished as problem:
                raise Refused(f"{shown(path)} keeps changing", hint="push again") from problem
            if found is None:
                return None
            self.entries[path] = found.entry
        return self.entries[path]

    def all_below(self, path: bytes) -> Iterator[bytes]:
        """A path that is to go, with all that lies in it."""
        entry = self.at(path)
        if len(self.entries) > 2 * ITEMS_AT_MOST:
            raise Refused(
                f"{shown(path)} holds more than Pacha takes away", hint="remove it in a pre-push hook"
            )
        if entry is not None and entry.kind == DIRECTORY:
            with self._host.tree.directory(path) as directory:
                parent = self._host.tree.lstat(split(path)[0])
                if parent is not None and parent.st_dev != directory.stat.st_dev:
                    raise Refused(f"{shown(path)} is a file system of its own", hint="unmount it first")
                names = directory.names()
            for name in names:
                yield from self.all_below(join(path, name))
        yield path

    def is_empty(self, path: bytes) -> bool:
        """Whether a directory holds nothing."""
        with self._host.tree.directory(path) as directory:
            return not directory.names()

    def reading(self, path: bytes) -> Reading | None:
        """What is there, a file's content with it; raise OSError or Vanished where it cannot be read."""
        host = self._host
        parent, name = split(path)
        with host.tree.directory(parent) as directory:
            status = directory.lstat(name)
            if status is None:
                return None
            if stat.S_ISDIR(status.st_mode):
                with host.tree.directory(path) as inner:
                    return inner.read_self()
            # What can be delivered can be put back, even where the history keeps no content of that size.
            found = directory.read(name, status, max(host.rules.size, FILE_AT_MOST))
        if found.entry.kind == FILE and host.secrets.named.covers(path):
            return found._replace(entry=sealed_entry(host, path, found.entry))
        return found
