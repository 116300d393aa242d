"""Damage to a tree, of every sort that people and programs do to configuration; repeatable by its seed."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.oracle.twin import clear_flags

ROUNDS = 3
SUBTREES = 3


class Wrecker:
    """The random choices and the tree they fall on; one public method for each sort of damage."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = os.fsencode(root)
        self.random = random.Random(seed)
        self.outside = os.fsencode(root.parent / "outside")

    def entries(self, *kinds: int) -> list[bytes]:
        """Paths below the root, of these kinds only (`stat.S_IF…`) or of all."""
        found = []
        for folder, folders, files in os.walk(self.root):
            found += [os.path.join(folder, name) for name in folders + files]
        return sorted(path for path in found if not kinds or stat.S_IFMT(os.lstat(path).st_mode) in kinds)

    def pick(self, *kinds: int) -> bytes:
        """One entry."""
        return self.random.choice(self.entries(*kinds))

    def fresh(self) -> bytes:
        """A path in some folder where nothing is yet."""
        folder = self.random.choice([self.root, *self.entries(stat.S_IFDIR)])
        return os.path.join(folder, b"new %x" % self.random.getrandbits(40))

    def remove(self, path: bytes) -> None:
        """Remove an entry of any kind."""
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)

    def edit(self) -> None:
        with open(self.pick(stat.S_IFREG), "ab") as file:
            file.write(self.random.randbytes(20))

    def edit_in_secret(self) -> None:
        """Same size, and the time put back: only ctime tells."""
        path = self.random.choice([path for path in self.entries(stat.S_IFREG) if os.path.getsize(path)])
        before = os.lstat(path)
        with open(path, "r+b") as file:
            first = file.read(1)
            file.seek(0)
            file.write(bytes([first[0] ^ 1]))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def truncate(self) -> None:
        os.truncate(self.pick(stat.S_IFREG), self.random.choice((0, 1, 100, 9000)))

    def replace_by_save(self) -> None:
        """As editors save: a new file renamed over the old."""
        path, beside = self.pick(stat.S_IFREG), self.fresh()
        Path(os.fsdecode(beside)).write_bytes(b"saved anew\n")
        os.rename(beside, path)

    def delete(self) -> None:
        self.remove(
            self.pick(stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
        )

    def delete_subtree(self) -> None:
        self.remove(self.pick(stat.S_IFDIR))

    def chmod(self) -> None:
        """Folders stay open to their owner: what nobody may look into can't be captured, nor then removed."""
        path = self.pick(stat.S_IFREG, stat.S_IFDIR, stat.S_IFIFO)
        mode = self.random.choice((0o700, 0o755, 0o4755, 0o2700, 0o1777, 0o640))
        os.chmod(path, mode | (0o700 if stat.S_ISDIR(os.lstat(path).st_mode) else 0))

    def chown(self) -> None:
        owner, group = self.random.choice(((0, 0), (1, 1), (54_322, 4), (65_534, 65_534)))
        os.lchown(self.pick(), owner, group)

    def touch(self) -> None:
        when = self.random.randrange(-(10**18), 2 * 10**18)
        os.utime(self.pick(), ns=(when, when), follow_symlinks=False)

    def rename(self) -> None:
        os.rename(self.pick(), self.fresh())

    def rename_over(self) -> None:
        os.rename(self.pick(stat.S_IFREG), self.pick(stat.S_IFREG, stat.S_IFLNK))

    def swap(self) -> None:
        one, other, held = self.pick(), self.pick(), self.fresh()
        for source, target in ((one, held), (other, one), (held, other)):
            os.rename(source, target)

    def become_folder(self) -> None:
        path = self.pick(stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO)
        os.unlink(path)
        os.makedirs(os.path.join(path, b"below", b"empty"))
        Path(os.fsdecode(path), "file").write_bytes(b"in a folder now\n")

    def become_symlink(self) -> None:
        """An entry, often a folder, that now points elsewhere: in the tree, outside, or nowhere."""
        path = self.pick()
        target = self.random.choice((self.outside, self.root, b"..", b"nowhere"))
        self.remove(path)
        os.symlink(target, path)

    def become_file(self) -> None:
        path = self.pick(stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK)
        self.remove(path)
        Path(os.fsdecode(path)).write_bytes(b"a plain file now\n")

    def become_fifo(self) -> None:
        path = self.pick()
        self.remove(path)
        os.mkfifo(path)

    def there_and_back(self) -> None:
        """A file that was a folder, a link and a fifo for a while."""
        path = self.pick(stat.S_IFREG)
        os.unlink(path)
        os.mkdir(path)
        os.rmdir(path)
        os.symlink(b"x", path)
        os.unlink(path)
        os.mkfifo(path)
        os.unlink(path)
        Path(os.fsdecode(path)).write_bytes(b"back again\n")

    def retarget(self) -> None:
        path = self.pick(stat.S_IFLNK)
        os.unlink(path)
        os.symlink(self.random.choice((b"elsewhere", b"\xfe", b"/", self.outside)), path)

    def add(self) -> None:
        Path(os.fsdecode(self.fresh())).write_bytes(self.random.randbytes(100))
        os.makedirs(os.path.join(self.fresh(), b"deep", b"er"))
        os.symlink(b"new", self.fresh())
        os.mkfifo(self.fresh())

    def add_hard_link(self) -> None:
        os.link(self.pick(stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO), self.fresh(), follow_symlinks=False)

    def break_hard_link(self) -> None:
        path = self.random.choice(
            [path for path in self.entries(stat.S_IFREG) if os.lstat(path).st_nlink > 1]
        )
        content = Path(os.fsdecode(path)).read_bytes()
        os.unlink(path)
        Path(os.fsdecode(path)).write_bytes(content)

    def join_by_hard_link(self) -> None:
        one, other = self.pick(stat.S_IFREG), self.pick(stat.S_IFREG)
        if one != other:
            os.unlink(other)
            os.link(one, other)

    def change_acl(self) -> None:
        options = self.random.choice((["-b"], ["-m", "u:99:rwx"], ["-m", "m::r"], ["-m", "g:98:-,o::-"]))
        _tool("setfacl", *options, "--", self.pick(stat.S_IFREG, stat.S_IFDIR))

    def change_default_acl(self) -> None:
        options = self.random.choice((["-k"], ["-d", "-m", "u:97:rwx"]))
        _tool("setfacl", *options, "--", self.pick(stat.S_IFDIR))

    def change_xattrs(self) -> None:
        """Set one, and take all of some other entry away."""
        os.setxattr(self.pick(stat.S_IFREG, stat.S_IFDIR), "user.wrecked", self.random.randbytes(9))
        carriers = [path for path in self.entries() if os.listxattr(path, follow_symlinks=False)]
        path = self.random.choice(carriers)
        for key in os.listxattr(path, follow_symlinks=False):
            os.removexattr(path, key, follow_symlinks=False)


ANY_TIME: tuple[Callable[[Wrecker], None], ...] = (
    Wrecker.edit, Wrecker.edit_in_secret, Wrecker.truncate, Wrecker.replace_by_save, Wrecker.delete, Wrecker.chmod,
    Wrecker.touch, Wrecker.rename, Wrecker.rename_over, Wrecker.swap, Wrecker.become_folder, Wrecker.become_symlink,
    Wrecker.become_file, Wrecker.become_fifo, Wrecker.there_and_back, Wrecker.retarget, Wrecker.add,
    Wrecker.add_hard_link, Wrecker.break_hard_link, Wrecker.join_by_hard_link, Wrecker.change_acl,
    Wrecker.change_default_acl, Wrecker.change_xattrs,
)  # fmt: skip


def wreck(root: Path, seed: int) -> int:
    """Damage the tree in random ways; answer how many blows fell. Inode flags are taken off first.

    Holes are not filled with zeros: the content would be the same, which is all that Pacha records of it.
    A blow that misses (the tree by then holds no such entry, or it is not ours to change) is no error.
    """
    wrecker = Wrecker(root, seed)
    clear_flags(root)
    blows = list(ANY_TIME) * ROUNDS
    if os.geteuid() == 0:
        blows += [Wrecker.chown] * ROUNDS
    wrecker.random.shuffle(blows)
    fallen = 0
    for blow in [*blows, *[Wrecker.delete_subtree] * SUBTREES]:
        try:
            blow(wrecker)
            fallen += 1
        except (OSError, IndexError):
            continue
    return fallen


def _tool(*argv: str | bytes) -> None:
    subprocess.run(argv, check=False, capture_output=True)
