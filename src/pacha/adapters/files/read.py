"""Reading one live entry honestly: never blocking, never following a link, never half of one version and half
of another.

Called by the scanner through `Tree`. A file is read between two looks at its inode; where they differ it is
read again, and where it keeps changing the last reading is handed over marked unstable. It decides nothing
about what is captured.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from pacha.adapters.files import kernel
from pacha.adapters.files.accounts import Accounts
from pacha.core import acl
from pacha.core.digests import sha256
from pacha.core.entry import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, SOCKET, SYMLINK, Entry
from pacha.core.tracked import Reading, Vanished

_ATTEMPTS = 5
_PAUSE = 0.02  # seconds between two readings of a file that changes
_CHUNK = 1 << 20
# Reading terabytes for a digest would hang a capture: beyond this, size and time must do.
DIGEST_AT_MOST = 1_000_000_000
_KINDS = {
    stat.S_IFREG: FILE, stat.S_IFDIR: DIRECTORY, stat.S_IFLNK: SYMLINK, stat.S_IFIFO: FIFO,
    stat.S_IFSOCK: SOCKET, stat.S_IFBLK: BLOCK, stat.S_IFCHR: CHARACTER,
}  # fmt: skip
_ACL, _DEFAULT_ACL = b"system.posix_acl_access", b"system.posix_acl_default"
# Signed over the inode number: meaningless on any other inode.
_UNPORTABLE = (b"security.evm",)


def kind_of(status: os.stat_result) -> bytes:
    """The kind of an entry in Pacha's words."""
    return _KINDS[stat.S_IFMT(status.st_mode)]


def read(directory: int, name: bytes, status: os.stat_result, accounts: Accounts, limit: int) -> Reading:
    """Read the entry `name` of the open `directory`, whose kind `status` told.

    Raise Vanished, or OSError where it cannot be read (EACCES, EIO, ESTALE …). Files of more than `limit`
    bytes: digest only, and not even that of huge ones.
    """
    if not stat.S_ISREG(status.st_mode):
        return _read_special(directory, name, status, accounts)
    descriptor = _open_file(directory, name)
    try:
        return _read_file(descriptor, status, accounts, limit)
    finally:
        os.close(descriptor)


def read_directory(descriptor: int, accounts: Accounts) -> Reading:
    """The entry of an open directory itself."""
    status = os.fstat(descriptor)
    entry = _metadata(status, accounts, kernel.attributes(descriptor), kernel.inode_flags(descriptor))
    return Reading(entry, status, None)


def _open_file(directory: int, name: bytes) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        try:
            return os.open(name, flags | os.O_NOATIME, dir_fd=directory)
        except PermissionError:  # only the owner may leave the access time alone
            return os.open(name, flags, dir_fd=directory)
    except FileNotFoundError as problem:
        raise Vanished from problem
    except OSError as problem:
        # A symlink, or a socket or device without a driver: the file was replaced after it was listed.
        if problem.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV):
            raise Vanished from problem
        raise


def _read_file(descriptor: int, listed: os.stat_result, accounts: Accounts, limit: int) -> Reading:
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode) or (before.st_dev, before.st_ino) != (listed.st_dev, listed.st_ino):
        raise Vanished
    for attempt in range(_ATTEMPTS):
        data, digest, size = _content(descriptor, before, limit)
        holes = _holes(descriptor, before)
        extended, flags = kernel.attributes(descriptor), kernel.inode_flags(descriptor)
        after = os.fstat(descriptor)
        stable = _same(before, after)
        if stable:
            break
        before = after
        if attempt < _ATTEMPTS - 1:
            time.sleep(_PAUSE * (attempt + 1))
    stored = None if data is not None else size
    entry = _metadata(after, accounts, extended, flags)
    entry = entry._replace(
        mtime=after.st_mtime_ns, sha256=digest, size=stored, holes=holes, unstable=not stable
    )
    return Reading(entry, after, data)


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_size, one.st_mtime_ns, one.st_ctime_ns) == (
        other.st_size,
        other.st_mtime_ns,
        other.st_ctime_ns,
    )


def _content(descriptor: int, status: os.stat_result, limit: int) -> tuple[bytes | None, bytes | None, int]:
    """(bytes or None where they are too many, digest or None where even that is too much, size)."""
    if status.st_size > max(limit, DIGEST_AT_MOST):
        return None, None, status.st_size
    digest = sha256(status.st_size)
    parts: list[bytes] | None = []
    size = 0
    # One byte more than the limit is enough to know; a file that grows for ever is cut off at the digest's
    # bound.
    while size <= max(limit, DIGEST_AT_MOST):
        part = os.pread(descriptor, _CHUNK, size)
        if not part:
            break
        size += len(part)
        digest.update(part)
        if size > limit:
            parts = None
        elif parts is not None:
            parts.append(part)
    return b"".join(parts) if parts is not None else None, digest.hexdigest().encode(), size


def _holes(descriptor: int, status: os.stat_result) -> tuple[tuple[int, int], ...]:
    """(offset, length) of each hole of a sparse file; nothing for a file that is stored in full."""
    if status.st_blocks * 512 >= status.st_size:
        return ()
    holes = []
    offset = 0
    try:
        while offset < status.st_size:
            start = os.lseek(descriptor, offset, os.SEEK_HOLE)
            if start >= status.st_size:
                break
            try:
                offset = os.lseek(descriptor, start, os.SEEK_DATA)
            except OSError as problem:
                if problem.errno != errno.ENXIO:  # no data after this hole
                    raise
                offset = status.st_size
            holes.append((start, offset - start))
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENXIO):
            raise
    return tuple(holes)


def _read_special(directory: int, name: bytes, listed: os.stat_result, accounts: Accounts) -> Reading:
    """Symlinks, fifos, sockets and devices: through an O_PATH descriptor, which opens nothing."""
    try:
        descriptor = os.open(name, kernel.O_PATH, dir_fd=directory)
    except FileNotFoundError as problem:
        raise Vanished from problem
    try:
        status = os.fstat(descriptor)
        if stat.S_IFMT(status.st_mode) != stat.S_IFMT(listed.st_mode):
            raise Vanished
        entry = _metadata(status, accounts, kernel.attributes(kernel.magic(descriptor)), b"")
        entry = entry._replace(mtime=status.st_mtime_ns)
        if entry.kind == SYMLINK:
            entry = entry._replace(target=os.readlink(b"", dir_fd=descriptor))
        elif entry.kind in (BLOCK, CHARACTER):
            entry = entry._replace(device=(os.major(status.st_rdev), os.minor(status.st_rdev)))
        return Reading(entry, status, None)
    finally:
        os.close(descriptor)


def _metadata(
    status: os.stat_result, accounts: Accounts, extended: dict[bytes, bytes], flags: bytes
) -> Entry:
    lists = [
        acl.to_words(extended[key], accounts.user, accounts.group) if key in extended else None
        for key in (_ACL, _DEFAULT_ACL)
    ]
    kept = (b"user.", b"trusted.", b"security.")
    return Entry(
        kind=kind_of(status),
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        user=accounts.user(status.st_uid),
        gid=status.st_gid,
        group=accounts.group(status.st_gid),
        acl=lists[0],
        default_acl=lists[1],
        xattrs=tuple(
            sorted(
                item for item in extended.items() if item[0].startswith(kept) and item[0] not in _UNPORTABLE
            )
        ),
        flags=flags,
    )
