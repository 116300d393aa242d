"""Owners of files, by number: who has what, and giving it to somebody else.

Called by `ops/rebuild` through the tree, when an account gets another number than it had here: what it owned
must not become somebody else's. Only the file system of the root is looked at, beneath it, no link followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pacha.adapters.files import kernel
from pacha.core.names import join, split
from pacha.core.tracked import Vanished

if TYPE_CHECKING:
    from pacha.adapters.files.tree import Directory, Tree

_CAPABILITY = b"security.capability"


def owned(
    tree: Tree, users: Mapping[int, int], groups: Mapping[int, int]
) -> Iterator[tuple[bytes, int, int]]:
    """(path, user, group as they shall be) of each entry whose owner has another number in one of the two."""
    pending = [b"/"]
    device = os.fstat(tree.root_descriptor).st_dev
    while pending:
        path = pending.pop()
        try:
            with tree.directory(path) as directory:
                if directory.stat.st_dev != device:
                    continue
                for name, status in [(b".", directory.stat), *directory.entries()]:
                    if name != b"." and stat.S_ISDIR(status.st_mode):
                        pending.append(join(path, name))
                    elif status.st_uid in users or status.st_gid in groups:
                        uid, gid = status.st_uid, status.st_gid
                        yield join(path, name), users.get(uid, uid), groups.get(gid, gid)
        except (OSError, Vanished) as problem:
            if getattr(problem, "errno", errno.ENOENT) not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise


def give(tree: Tree, path: bytes, uid: int, gid: int) -> None:
    """Change the owner of one entry, and nothing else of it: the kernel takes setuid bits and capabilities
    off. What is gone is passed over.
    """
    parent, name = split(path)
    try:
        with tree.directory(parent) as directory:
            _give(directory, name, uid, gid)
    except FileNotFoundError:
        return


def _give(directory: Directory, name: bytes, uid: int, gid: int) -> None:
    descriptor = os.open(name, kernel.O_PATH, dir_fd=directory.descriptor)
    try:
        status, target = os.fstat(descriptor), kernel.magic(descriptor)
        if (status.st_uid, status.st_gid) == (uid, gid):
            return
        is_file = stat.S_ISREG(status.st_mode)
        capability = kernel.attributes(target).get(_CAPABILITY) if is_file else None
        kernel.chown(descriptor, uid, gid)
        if is_file and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
            os.chmod(target, stat.S_IMODE(status.st_mode))
        if capability is not None:
            os.setxattr(target, _CAPABILITY, capability)
    finally:
        os.close(descriptor)
