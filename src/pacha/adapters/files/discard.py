"""Removes a folder with everything in it, whatever inode flags keep it from that.

Called for trees that Pacha has made for the moment (`adapters/throwaway`), where immutable files came back
with the rest. It must not be given a live tree, and it clears no flag on another file system than the
folder's own: what is mounted there is somebody's.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pacha.adapters.files import kernel


def discard(folder: str) -> bool:
    """Remove it; False where something of it stays."""
    try:
        device = os.lstat(folder).st_dev
    except OSError:
        return not os.path.lexists(folder)

    def again(work: Callable[..., Any], path: str, _problem: Any) -> None:
        """What could not be removed once more, without the flags of itself and of its directory."""
        if work not in (os.unlink, os.rmdir):
            return
        with suppress(OSError):
            for place in (os.path.dirname(path), path):
                _unlock(place, device)
            work(path)

    shutil.rmtree(folder, onerror=again)
    return not os.path.lexists(folder)


def _unlock(path: str, device: int) -> None:
    """Clear the flags of a directory or a plain file; nothing else has any."""
    status = os.lstat(path)
    if status.st_dev != device or not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if kernel.inode_flags(descriptor):
            kernel.set_inode_flags(descriptor, b"")
    finally:
        os.close(descriptor)
