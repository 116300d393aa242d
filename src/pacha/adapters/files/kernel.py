"""System calls that Python does not offer, and the attributes of inodes: openat2, renameat2, fchownat, ioctl,
xattrs.

Called by the rest of `adapters/files` alone. Every function takes a descriptor, or a descriptor and one name;
none takes a path of the host. Errors are OSError with the kernel's number. Sources: openat2(2), renameat2(2),
ioctl_iflags(2), syncfs(2).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

_SYS_OPENAT2 = 437  # the same on every architecture
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08
_RESOLVE = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
_AT_EMPTY_PATH = 0x1000
_NO_ACCOUNT = 0xFFFFFFFF  # which would change nothing, chown(2)
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
_FS_IOC_GETFLAGS, _FS_IOC_SETFLAGS = 0x80086601, 0x40086602
_FLAG_BITS = {b"a": 0x20, b"i": 0x10}
O_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_lacks: set[str] = set()  # what the kernel turned out not to have


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def has_openat2() -> bool:
    """Whether the kernel has openat2, as far as it was asked for yet."""
    return "openat2" not in _lacks


def open_beneath(root: int, path: bytes, flags: int) -> int:
    """Open `path` (relative, any number of components) beneath the directory `root`, following no link on the
    way.

    A symlink in any place is ELOOP, a way out EXDEV. The kernel answers EAGAIN where something was renamed
    meanwhile: asked again.
    """
    if not path:
        return os.open(b".", flags | os.O_CLOEXEC, dir_fd=root)
    if has_openat2():
        how = struct.pack("<QQQ", flags | os.O_CLOEXEC, 0, _RESOLVE)
        for _ in range(100):
            try:
                return _check(_libc.syscall(_SYS_OPENAT2, root, path, how, ctypes.c_size_t(len(how))))
            except OSError as problem:
                if problem.errno == errno.ENOSYS:
                    _lacks.add("openat2")
                    break
                if problem.errno not in (errno.EAGAIN, errno.EINTR):
                    raise
    return walk_beneath(root, path, flags)


def walk_beneath(root: int, path: bytes, flags: int) -> int:
    """The same for a kernel without openat2: one component at a time, none of which may be a symlink."""
    *parents, last = path.split(b"/")
    if b".." in (*parents, last):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    current = os.dup(root)
    try:
        for name in parents:
            deeper = os.open(name, O_PATH | os.O_DIRECTORY, dir_fd=current)
            os.close(current)
            current = deeper
        return os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
    except NotADirectoryError as problem:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from problem
    finally:
        os.close(current)


def rename(directory: int, old: bytes, new: bytes, flags: int = 0) -> None:
    """Rename within one directory; with RENAME_EXCHANGE both names change places at one instant."""
    if flags:
        _check(_libc.renameat2(directory, old, directory, new, ctypes.c_uint(flags)))
    else:
        os.rename(old, new, src_dir_fd=directory, dst_dir_fd=directory)


def chown(descriptor: int, uid: int, gid: int) -> None:
    """Change the owner of whatever the descriptor is, a symlink's too; OverflowError for what is no number
    of an account.
    """
    if not (0 <= uid < _NO_ACCOUNT and 0 <= gid < _NO_ACCOUNT):
        raise OverflowError("no account has such a number")
    _check(_libc.fchownat(descriptor, b"", ctypes.c_uint(uid), ctypes.c_uint(gid), _AT_EMPTY_PATH))


def syncfs(descriptor: int) -> None:
    """Write everything of that file system to the disk."""
    _check(_libc.syncfs(descriptor))


def magic(descriptor: int) -> bytes:
    """A name for what an O_PATH descriptor is, for calls that know no AT_EMPTY_PATH."""
    return b"/proc/self/fd/%d" % descriptor


def inode_flags(descriptor: int) -> bytes:
    """Those of `a` and `i` that are set; none where the file system has no such flags."""
    buffer = bytearray(8)
    try:
        fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, buffer)
    except OSError as problem:
        if problem.errno in (
            errno.ENOTTY,
            errno.EOPNOTSUPP,
            errno.EINVAL,
            errno.EACCES,
            errno.EPERM,
            errno.ENOSYS,
        ):
            return b""
        raise
    value = struct.unpack_from("<I", buffer)[0]
    return b"".join(name for name, bit in _FLAG_BITS.items() if value & bit)


def set_inode_flags(descriptor: int, wanted: bytes) -> None:
    """Make exactly those of `a` and `i` set; the other flags stay as they are."""
    buffer = bytearray(8)
    fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, buffer)
    value = struct.unpack_from("<I", buffer)[0]
    for name, bit in _FLAG_BITS.items():
        value = value | bit if name in wanted else value & ~bit
    fcntl.ioctl(descriptor, _FS_IOC_SETFLAGS, struct.pack("<I", value))


def attributes(target: int | bytes) -> dict[bytes, bytes]:
    """All extended attributes that can be read, access lists among them; none where there is no support."""
    found: dict[bytes, bytes] = {}
    try:
        names = os.listxattr(target)
    except OSError as problem:
        if problem.errno in (errno.EOPNOTSUPP, errno.EPERM, errno.ENOENT, errno.ELOOP):
            return found
        raise
    for name in names:
        try:
            found[os.fsencode(name)] = os.getxattr(target, name)
        except OSError as problem:
            if problem.errno not in (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES):
                raise
    return found
