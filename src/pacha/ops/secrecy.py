"""Which of the files that a scan meets are secrets, and their entries as such.

Called by the scan. A file is a secret if `[secrets]` names it by any of its names: what is encrypted under
one must not be stored in the clear under another. So files with several names wait until all are met.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple

from pacha.core.entry import Entry
from pacha.core.names import join
from pacha.core.tracked import Row
from pacha.ops.host import Host
from pacha.ops.inodes import inode_of, status_of_name
from pacha.ops.secrets import sealed_entry

if TYPE_CHECKING:
    from os import stat_result


class Waiting(NamedTuple):
    """An entry that is to be looked at when all have been met."""

    directory: bytes
    name: bytes
    status: stat_result


class Secrecy:
    """One scan's knowledge of what is secret."""

    def __init__(self, host: Host, resealing: bool) -> None:
        """`resealing`: what is encrypted for others than those configured now is to be encrypted anew."""
        self._host = host
        self._named = host.secrets.named
        self._resealing = resealing
        self._waiting: list[Waiting] = []
        self._has_met_all = False
        self._inodes: set[bytes] = set()  # of files that a name has told to be secret

    def must_wait(self, directory: bytes, name: bytes, status: stat_result) -> bool:
        """Whether it cannot be told yet: then the entry is among those that `met_all` returns."""
        if not self._named or self._has_met_all or status.st_nlink == 1 or not stat.S_ISREG(status.st_mode):
            return False
        if self._named.covers(join(directory, name)):
            self._inodes.add(inode_of(status))
        self._waiting.append(Waiting(directory, name, status))
        return True

    def met_all(self) -> list[Waiting]:
        """All entries have been met: what must be looked at now."""
        self._has_met_all = True
        return self._waiting

    def is_secret(self, path: bytes, status: stat_result) -> bool:
        """Whether a file's content is a secret, by this name of it or by another."""
        if not self._named or not stat.S_ISREG(status.st_mode):
            return False
        if self._named.covers(path):
            return True
        return status.st_nlink > 1 and self._has_secret_name(inode_of(status))

    def _has_secret_name(self, inode: bytes) -> bool:
        """Whether one that was met now, or one that the index knows and that is still there, is named."""
        return inode in self._inodes or any(
            self._named.covers(join(row.directory, row.name)) and status_of_name(self._host, row, inode)
            for row in self._host.index.links(inode)
        )

    def is_as_stored(self, row: Row, is_secret: bool) -> bool:
        """Whether the content is stored encrypted, or in the clear, as it is to be."""
        if is_secret and self._resealing and b"\tsealed=" + self._host.secrets.sealed not in row.line:
            return False
        return is_secret == (b"\tsecret=" in row.line)

    def seal(self, path: bytes, entry: Entry, known: Entry | None) -> Entry:
        """The entry of a secret; one whose content is stored already stays encrypted for whom it was."""
        entry = sealed_entry(self._host, path, entry, self._host.secrets.sealed)
        is_stored = known is not None and known.secret == entry.secret and known.sealed is not None
        if known is None or not is_stored or not entry.has_content or self._resealing:
            return entry
        return entry._replace(sealed=known.sealed)
