"""Writing live entries: each is made whole beside its target under a name of Pacha's own, then takes its
place at one instant.

Called by `ops/apply` alone, through `Workbench`. A new entry gets owner, extended attributes and access
lists, then mode, then capabilities, through its open descriptor before it can be seen under the target's
name: nothing is ever half written, or readable by more people than it will be. Inode flags come last, after
the rename that they would forbid. It decides nothing: no plan, no journal.
"""

from __future__ import annotations

import errno
import os
import stat

from pacha.adapters.files import kernel
from pacha.adapters.files.accounts import Accounts
from pacha.adapters.files.read import kind_of
from pacha.adapters.files.tree import Directory
from pacha.core import acl
from pacha.core.entry import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, SOCKET, SYMLINK, Entry
from pacha.core.rules import TEMPORARY_PREFIX, TEMPORARY_SUFFIX

_ACL, _DEFAULT_ACL = b"system.posix_acl_access", b"system.posix_acl_default"
_CAPABILITY = b"security.capability"


class Workbench:
    """The tools for changing entries of one open directory."""

    def __init__(self, directory: Directory, accounts: Accounts) -> None:
        self._directory = directory
        self._at = directory.descriptor
        self._accounts = accounts

    # -- making ------------------------------------------------------------------------------------

    def make(self, entry: Entry, data: bytes | None) -> bytes:
        """Make `entry` under a temporary name, complete but for inode flags; returns that name.

        Raise OSError and leave nothing behind where any part of it cannot be done.
        """
        name = temporary_name()
        try:
            if entry.kind == FILE:
                self._make_file(name, entry, data or b"")
            else:
                self._make_special(name, entry)
        except (OSError, ValueError, OverflowError):
            self.discard(name)
            raise
        return name

    def make_link(self, source: Directory, source_name: bytes) -> bytes:
        """Another name for a file that exists, under a temporary name; returns that name."""
        name = temporary_name()
        descriptor = os.open(source_name, kernel.O_PATH, dir_fd=source.descriptor)
        try:
            os.link(kernel.magic(descriptor), name, dst_dir_fd=self._at, follow_symlinks=True)
        finally:
            os.close(descriptor)
        return name

    def name_again(self, source: Directory, source_name: bytes, name: bytes) -> None:
        """Another name, here, for an entry that is no directory."""
        os.link(source_name, name, src_dir_fd=source.descriptor, dst_dir_fd=self._at, follow_symlinks=False)

    def _make_file(self, name: bytes, entry: Entry, data: bytes) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=self._at)
        try:
            _write(descriptor, data, entry.holes)
            self._dress(descriptor, descriptor, entry)
        finally:
            os.close(descriptor)

    def _make_special(self, name: bytes, entry: Entry) -> None:
        if entry.kind == DIRECTORY:
            os.mkdir(name, 0o700, dir_fd=self._at)
        elif entry.kind == SYMLINK:
            os.symlink(entry.target or b"", name, dir_fd=self._at)
        elif entry.kind in (FIFO, SOCKET):
            kind = stat.S_IFIFO if entry.kind == FIFO else stat.S_IFSOCK
            os.mknod(name, kind | 0o600, dir_fd=self._at)
        elif entry.kind in (BLOCK, CHARACTER) and entry.device is not None:
            kind = stat.S_IFBLK if entry.kind == BLOCK else stat.S_IFCHR
            os.mknod(name, kind | 0o600, os.makedev(*entry.device), dir_fd=self._at)
        else:
            raise OSError(errno.EOPNOTSUPP, f"a {entry.kind.decode()} cannot be made again")
        descriptor = os.open(name, kernel.O_PATH, dir_fd=self._at)
        try:
            if kind_of(os.fstat(descriptor)) != entry.kind:
                raise OSError(errno.ESTALE, "replaced while it was being made")
            self._dress(descriptor, kernel.magic(descriptor), entry)
        finally:
            os.close(descriptor)

    # -- metadata ----------------------------------------------------------------------------------

    def _dress(self, descriptor: int, target: int | bytes, entry: Entry) -> None:
        """Give what `descriptor` is its metadata; `target` is what the attribute calls of Python take."""
        status = os.fstat(descriptor)
        uid = self._accounts.user_number(entry.user, entry.uid)
        gid = self._accounts.group_number(entry.group, entry.gid)
        if (status.st_uid, status.st_gid) != (uid, gid):
            kernel.chown(descriptor, uid, gid)
        wanted = self._attributes(entry)
        present = kernel.attributes(target)
        for key in present:
            if key not in wanted and key.startswith(
                (b"user.", b"trusted.", b"security.", _ACL, _DEFAULT_ACL)
            ):
                _remove_attribute(target, key)
        for key, value in wanted.items():
            if key != _CAPABILITY and present.get(key) != value:
                os.setxattr(target, key, value)
        if entry.kind != SYMLINK:
            os.chmod(target, entry.mode)
        if _CAPABILITY in wanted:
            os.setxattr(target, _CAPABILITY, wanted[_CAPABILITY])
        if entry.mtime is not None:
            os.utime(target, ns=(status.st_atime_ns, entry.mtime))

    def _attributes(self, entry: Entry) -> dict[bytes, bytes]:
        wanted = dict(entry.xattrs)
        for key, words in ((_ACL, entry.acl), (_DEFAULT_ACL, entry.default_acl)):
            if words is not None:
                wanted[key] = acl.to_binary(words, self._accounts.user_number, self._accounts.group_number)
        return wanted

    def adjust(self, name: bytes, entry: Entry) -> None:
        """Give the existing entry `name` (`.`: the directory itself) the metadata of `entry`, in place."""
        descriptor = os.dup(self._at) if name == b"." else os.open(name, kernel.O_PATH, dir_fd=self._at)
        try:
            if kind_of(os.fstat(descriptor)) != entry.kind:
                raise OSError(errno.ESTALE, "replaced meanwhile")
            self._dress(descriptor, kernel.magic(descriptor), entry)
        finally:
            os.close(descriptor)

    def set_flags(self, name: bytes, flags: bytes) -> None:
        """Set or clear the inode flags `a` and `i` of a file or directory; the last thing done to it."""
        if name == b".":
            kernel.set_inode_flags(self._at, flags)
            return
        descriptor = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._at
        )
        try:
            kernel.set_inode_flags(descriptor, flags)
        finally:
            os.close(descriptor)

    # -- putting in place --------------------------------------------------------------------------

    def place(self, temporary: bytes, name: bytes) -> None:
        """Let the entry `temporary` take the place of `name`, whatever that is or is not, at one instant.

        A directory in the way must be empty. Raise OSError and leave both as they were where it cannot be
        done.
        """
        old = self._directory.lstat(name)
        new = self._directory.lstat(temporary) if old is not None else None
        if old is None or new is None or not (stat.S_ISDIR(old.st_mode) or stat.S_ISDIR(new.st_mode)):
            kernel.rename(self._at, temporary, name)
            if old is not None and new is not None and (old.st_dev, old.st_ino) == (new.st_dev, new.st_ino):
                self.discard(temporary)  # rename does nothing where both names are one file
            return
        if stat.S_ISDIR(old.st_mode):
            with self._directory.child(name) as child:
                if child.names():
                    raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        try:
            kernel.rename(self._at, temporary, name, kernel.RENAME_EXCHANGE)
        except OSError as problem:
            if problem.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            self.remove(name)  # a file system that cannot exchange: the one case with a moment of absence
            kernel.rename(self._at, temporary, name)
            return
        try:
            self.remove(temporary)
        except OSError:  # something came into the directory meanwhile: take it all back
            kernel.rename(self._at, temporary, name, kernel.RENAME_EXCHANGE)
            raise

    def move(self, name: bytes, target: Directory, target_name: bytes) -> None:
        """Let an entry of this directory, which is none itself, take the place of one of another."""
        os.rename(name, target_name, src_dir_fd=self._at, dst_dir_fd=target.descriptor)
        self.discard(name)  # rename does nothing where both names are one file

    def remove(self, name: bytes) -> None:
        """Remove an entry; a directory must be empty."""
        status = self._directory.lstat(name)
        if status is None:
            return
        if stat.S_ISDIR(status.st_mode):
            os.rmdir(name, dir_fd=self._at)
        else:
            os.unlink(name, dir_fd=self._at)

    def discard(self, temporary: bytes) -> None:
        """Remove one of our own temporary entries, if it is there."""
        try:
            self.remove(temporary)
        except FileNotFoundError:
            pass

    def sync(self, name: bytes | None = None) -> None:
        """Write the directory, or one file or directory in it, to the disk."""
        if name is None:
            os.fsync(self._at)
            return
        descriptor = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._at
        )
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def temporary_name() -> bytes:
    """A name for a file that is being made; `core/rules` knows its form."""
    return TEMPORARY_PREFIX + os.urandom(8).hex().encode() + TEMPORARY_SUFFIX


def _write(descriptor: int, data: bytes, holes: tuple[tuple[int, int], ...]) -> None:
    """Write all bytes but those in holes, which must be zeros."""
    position = 0
    for start, length in (*holes, (len(data), 0)):
        end = min(start, len(data))
        while position < end:
            position += os.pwrite(descriptor, data[position:end], position)
        if data[start : start + length].strip(b"\0"):
            continue  # not a hole in this content
        position = max(position, start + length)
    if holes:  # the last may be at the end
        os.ftruncate(descriptor, len(data))


def _remove_attribute(target: int | bytes, key: bytes) -> None:
    try:
        os.removexattr(target, key)
    except OSError as problem:
        # A label that the system put there by itself (SELinux) stays.
        if problem.errno not in (errno.ENODATA, errno.EACCES, errno.EPERM, errno.EOPNOTSUPP):
            raise
