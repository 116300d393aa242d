"""Which file of which file system an entry is a name of.

Called by the scan, by `links` and by `secrecy`, for files with several names. It reads one entry's status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pacha.core.names import join
from pacha.core.tracked import Row
from pacha.ops.host import Host

if TYPE_CHECKING:
    from os import stat_result


def inode_of(status: stat_result) -> bytes:
    """Which file of which file system it is, as the index keeps it."""
    return b"%d:%d" % (status.st_dev, status.st_ino)


def status_of_name(host: Host, row: Row, inode: bytes) -> stat_result | None:
    """The status of what a row stands for, None where it is no name of that file any more: it may be gone,
    and its number another file's.
    """
    try:
        status = host.tree.lstat(join(row.directory, row.name))
    except OSError:
        return None
    return status if status is not None and inode_of(status) == inode else None
