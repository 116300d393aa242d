"""The small values that travel between the operations and the adapters: what was read, indexed, left out, or
is to be stored.

Called by both; it holds no decision and no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pacha.core.entry import Entry

if TYPE_CHECKING:
    from pacha.core.revision import Stamp


CONFIG = "config"  # in the header of a journal: what the configuration said when it was begun


class Vanished(Exception):
    """The entry was there when its directory was listed, and is gone now or has become another kind."""


class Reading(NamedTuple):
    """One entry as it was read: `data` is None but for a file whose content is to be stored."""

    entry: Entry
    stat: Any  # os.stat_result: named so by the adapter, which core must not know
    data: bytes | None


class Row(NamedTuple):
    """What the index knows of one entry: the line it has in the store, and how it looked when that was
    read.
    """

    directory: bytes
    name: bytes  # `.` for the directory itself
    signature: bytes  # of its status; empty means: read it again
    inode: bytes | None  # which file it is a name of; none for directories
    line: bytes


class Skipped(NamedTuple):
    """An entry that could not be taken as it is."""

    path: bytes
    reason: str
    failed: bool  # makes exit 3: unreadable or torn; False for what policy leaves out


class Blob(NamedTuple):
    """Where bytes lie in a spool or a journal's images."""

    offset: int
    length: int


class Draft(NamedTuple):
    """A revision to be: `present` are the store paths with new content, `removed` those that go.

    Of the present ones those in `known`, `{store path: file hash}`, have a content that the store has
    already.
    """

    author: str
    message: str
    stamp: Stamp
    present: Sequence[bytes]
    removed: Sequence[bytes]
    known: Mapping[bytes, bytes]


class Recorded(NamedTuple):
    """One step as the journal has it; a blob is None where there is no content on that side, or none was
    needed.
    """

    path: bytes
    before: Entry | None
    after: Entry | None
    before_data: Blob | None
    after_data: Blob | None
