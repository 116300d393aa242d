"""The awkward tree: every kind of entry, name and metadata that Pacha must bring back exactly.

What only root can make (devices, foreign owners, trusted attributes, inode flags) is left out for others.
The tree lies flat in themes, one folder each, so that a failure's path tells what went wrong.
"""

from __future__ import annotations

import os
import random
import socket
import stat
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.trees import names

BLOCK = 4096
MIB = 1 << 20
DAY_NS = 86_400 * 10**9
NOBODY_HERE = 54_321  # an owner without an account
PATH_LIMIT = 4096


def build(root: Path, *, flags: bool = False) -> None:
    """Make the awkward tree at `root`, which must not exist; `flags` adds +i and +a files (root only)."""
    base = os.fsencode(root)
    os.mkdir(base)
    themes: list[Callable[[bytes], None]] = [
        _contents, _names, _folders, _words_of_the_store, _symlinks, _hard_links, _specials, _modes, _acls, _xattrs, _deep,
    ]  # fmt: skip
    if os.geteuid() == 0:
        themes += [_devices, _owners, _privileged_xattrs]
    for theme in [*themes, _times]:
        folder = _at(base, theme.__name__.strip("_").encode())
        os.mkdir(folder)
        theme(folder)
    if flags:
        _flags(base)


def _at(*parts: bytes) -> bytes:
    return os.path.join(*parts)


def _write(path: bytes, content: bytes = b"some content\n", mode: int = 0o644) -> bytes:
    with open(path, "xb") as file:
        file.write(content)
    os.chmod(path, mode)
    return path


def _contents(here: bytes) -> None:
    """Any bytes, none, one, a megabyte, and files with holes at either end and between."""
    _write(_at(here, b"empty"), b"")
    _write(_at(here, b"one"), b"\0")
    _write(_at(here, b"no newline at end"), b"text")
    _write(_at(here, b"crlf"), b"a\r\nb\r\n")
    _write(_at(here, b"every byte"), bytes(range(256)) * 3)
    _write(_at(here, b"looks like copy data"), b"\x01\ncopy: x\ncopyrev: 0\n\x01\nreal text\n")
    _write(_at(here, b"starts with a mark"), b"\x01\n")
    _write(_at(here, b"megabyte"), random.Random(1).randbytes(MIB))
    _sparse(_at(here, b"only a hole"), MIB, [])
    _sparse(_at(here, b"hole first"), MIB, [MIB - BLOCK])
    _sparse(_at(here, b"hole last"), MIB, [0])
    _sparse(_at(here, b"holes between"), MIB, [0, 64 * BLOCK, MIB - BLOCK])


def _sparse(path: bytes, size: int, blocks: list[int]) -> None:
    with open(path, "xb") as file:
        for offset in blocks:
            file.seek(offset)
            file.write(b"d" * BLOCK)
        file.truncate(size)


def _names(here: bytes) -> None:
    for name in names.FILES:
        _write(_at(here, name), b"named " + name.hex().encode() + b"\n")


def _folders(here: bytes) -> None:
    """Folders of every odd name, each with something below that a version control tool would trip over."""
    for name in names.FOLDERS:
        folder = _at(here, name)
        os.makedirs(_at(folder, b".hg", b"store"))
        os.mkdir(_at(folder, b"empty"))
        _write(_at(folder, b"file"))
        _write(_at(folder, b".hg", b"hgrc"), b"[hooks]\nupdate = touch /hacked\n")
        _write(_at(folder, b".hg", b"store", b"journal"), b"")


def _words_of_the_store(here: bytes) -> None:
    """Files that Mercurial would obey: `.hg` as a file, broken ignore rules, junk sub-repositories."""
    for depth in (b".", b"one", b"one/two"):
        os.makedirs(_at(here, depth), exist_ok=True)
        _write(_at(here, depth, b".hg"), b"a file\n")
        _write(_at(here, depth, b".hgignore"), b"syntax: regexp\n(((\n")
        _write(_at(here, depth, b".hgsub"), b"sub = [git]ssh://-oProxyCommand=false/x\n")
        _write(_at(here, depth, b".hgsubstate"), b"junk\n\x00\n")
        _write(_at(here, depth, b".hgtags"), b"not a node at all\n")
        _write(_at(here, depth, b".hgeol"), b"[patterns]\n** = CRLF\n")
    os.mkdir(_at(here, b".HG"))
    _write(_at(here, b".HG", b"x"))
    os.mkdir(_at(here, b".hg."))
    _write(_at(here, b".hg.", b"x"))


def _symlinks(here: bytes) -> None:
    targets = {
        b"relative": b"../contents/one", b"absolute": b"/etc/passwd", b"dangling": b"nowhere/at/all", b"self": b"self",
        b"loop 1": b"loop 2", b"loop 2": b"loop 1", b"to a folder": b"../folders", b"up": b"../../..",
        b"not text": b"\xff\xfe\xe9", b"new\nline": b"a\nb", b"long": b"x/" * 2000, b"spaces": b"  ", b"dots": b"./.././",
        b"%": b"%41%0a", b"slashes": b"///etc//passwd/", b"proc": b"/proc/self/root",
    }  # fmt: skip
    for name, target in targets.items():
        os.symlink(target, _at(here, name))


def _hard_links(here: bytes) -> None:
    os.mkdir(_at(here, b"a"))
    os.mkdir(_at(here, b"b"))
    pair = _write(_at(here, b"a", b"within 1"), b"within\n")
    os.link(pair, _at(here, b"a", b"within 2"))
    across = _write(_at(here, b"a", b"across"), b"across\n", 0o600)
    os.link(across, _at(here, b"b", b"across"))
    os.link(across, _at(here, b"b", b"new\nline"))
    os.link(across, _at(here, b".hg"))
    _write(_at(here, b"b", b"equal but apart"), b"across\n", 0o600)
    os.symlink(b"target", _at(here, b"link"))
    os.link(_at(here, b"link"), _at(here, b"link again"), follow_symlinks=False)
    os.mkfifo(_at(here, b"fifo"))
    os.link(_at(here, b"fifo"), _at(here, b"b", b"fifo again"))


def _specials(here: bytes) -> None:
    os.mkfifo(_at(here, b"fifo"))
    os.chmod(_at(here, b"fifo"), 0o622)
    os.mkfifo(_at(here, b"fifo\n.hg"))
    os.mkdir(_at(here, b"empty folder"))
    inside = os.open(here, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(b"/proc/self/fd/%d/socket" % inside)
    os.close(inside)
    os.chmod(_at(here, b"socket"), 0o660)


def _devices(here: bytes) -> None:
    for name, kind, number in (
        (b"null", stat.S_IFCHR, os.makedev(1, 3)),
        (b"block", stat.S_IFBLK, os.makedev(7, 200)),
        (b"large minor", stat.S_IFCHR, os.makedev(240, 70_000)),
    ):
        os.mknod(_at(here, name), kind | 0o600, number)
    os.chmod(_at(here, b"null"), 0o666)
    os.chown(_at(here, b"block"), 0, 6)


def _modes(here: bytes) -> None:
    modes = [0o4755, 0o2755, 0o1644, 0o6711, 0o7777, 0o400, 0o444, 0o644, 0o777, 0o600]
    if os.geteuid() == 0:
        modes += [0o000, 0o001, 0o200, 0o4000]
    for mode in modes:
        _write(_at(here, b"f%04o" % mode), mode=mode)
    for mode in (0o1777, 0o2775, 0o3770, 0o700, 0o755, 0o4755):
        folder = _at(here, b"d%04o" % mode)
        os.mkdir(folder)
        _write(_at(folder, b"file"))
        os.chmod(folder, mode)


def _owners(here: bytes) -> None:
    for name, owner, group in (
        (b"nobody here", NOBODY_HERE, NOBODY_HERE),
        (b"daemon", 1, 1),
        (b"mixed", 0, 12),
    ):
        os.chown(_write(_at(here, name)), owner, group)
        setuid = _write(_at(here, name + b" setuid"))
        os.chown(setuid, owner, group)
        os.chmod(setuid, 0o6755)
        folder = _at(here, name + b" folder")
        os.mkdir(folder)
        os.chown(_write(_at(folder, b"of root")), 0, 0)
        os.chown(folder, owner, group)
        os.chmod(folder, 0o2770)
        os.symlink(b"x", _at(here, name + b" link"))
        os.lchown(_at(here, name + b" link"), owner, group)
    os.chown(_write(_at(here, b"largest")), 2**32 - 2, 2**32 - 2)


def _setfacl(path: bytes, rules: bytes, *options: bytes) -> None:
    subprocess.run([b"setfacl", *options, b"-m", rules, b"--", path], check=True)


def _acls(here: bytes) -> None:
    named = b"u:%d:rw,u:1:r,g:%d:rx,g:5:-" % (NOBODY_HERE, NOBODY_HERE)
    _setfacl(_write(_at(here, b"named")), named)
    _setfacl(_write(_at(here, b"masked")), named + b",m::r")
    _setfacl(_write(_at(here, b"only a mask")), b"m::rx")
    _setfacl(_write(_at(here, b"new\nline")), b"u:2:rwx")
    for name, rules in (
        (b"default", named),
        (b"default masked", named + b",m::-,o::-"),
        (b"default short", b"o::-"),
    ):
        folder = _at(here, name)
        os.mkdir(folder)
        _write(_at(folder, b"made before"), mode=0o604)
        os.mkdir(_at(folder, b"folder made before"))
        os.symlink(b"x", _at(folder, b"link"))
        _setfacl(folder, rules, b"-d")
        _write(_at(folder, b"made after"))
        os.mkdir(_at(folder, b"folder made after"))
    _setfacl(_at(here, b"default"), named)
    if os.geteuid() == 0:
        os.mkfifo(_at(here, b"fifo"))
        _setfacl(_at(here, b"fifo"), b"u:3:rw")


def _xattrs(here: bytes) -> None:
    values = {
        "user.plain": b"value", "user.empty": b"", "user.bytes": bytes(range(256)), "user.a b\n=\u00e9%": b"=\n\0",
        "user.large": b"L" * 1500, "user.dotted.name.with.parts": b"x",
    }  # fmt: skip
    every = _write(_at(here, b"every"))
    for key, value in values.items():
        os.setxattr(every, key, value)
    many = _write(_at(here, b"many\n"), b"")
    for number in range(40):
        os.setxattr(many, f"user.n{number:03}", b"%d" % number)
    folder = _at(here, b"folder")
    os.mkdir(folder)
    os.setxattr(folder, "user.on.folder", b"yes")


def _privileged_xattrs(here: bytes) -> None:
    os.symlink(b"anywhere", _at(here, b"link"))
    os.mkfifo(_at(here, b"fifo"))
    os.mkdir(_at(here, b"folder"))
    _write(_at(here, b"file"))
    for name in (b"link", b"fifo", b"folder", b"file"):
        os.setxattr(_at(here, name), "trusted.note", b"on " + name + b"\0", follow_symlinks=False)
    revision_2 = struct.pack("<IIIII", 0x0200_0001, 1 << 10, 0, 0, 0)
    revision_3 = struct.pack("<IIIIII", 0x0300_0000, 1 << 13, 1 << 13, 0, 0, NOBODY_HERE)
    os.setxattr(_write(_at(here, b"capable"), mode=0o755), "security.capability", revision_2)
    os.setxattr(_write(_at(here, b"capable in a namespace"), mode=0o755), "security.capability", revision_3)
    owned = _write(_at(here, b"capable, owned, setgid"))
    os.chown(owned, NOBODY_HERE, 12)
    os.chmod(owned, 0o2750)
    os.setxattr(owned, "security.capability", revision_2)
    _setfacl(owned, b"u:7:r")
    os.setxattr(_write(_at(here, b"labelled")), "security.selinux", b"system_u:object_r:etc_t:s0\0")


def _times(here: bytes) -> None:
    """Content times to the nanosecond, before 1970 and after 2038, of files, links and fifos."""
    for number, when in enumerate(
        (0, 1, -1, -DAY_NS * 3650 + 123_456_789, 2**31 * 10**9 + 1, 2**32 * 10**9, 999_999_999)
    ):
        os.utime(_write(_at(here, b"file %d" % number)), ns=(0, when))
        os.symlink(b"x", _at(here, b"link %d" % number))
        os.utime(_at(here, b"link %d" % number), ns=(0, when), follow_symlinks=False)
    os.mkfifo(_at(here, b"fifo"))
    os.utime(_at(here, b"fifo"), ns=(0, -5))


def _deep(here: bytes) -> None:
    """Sixty folders deep, and a path just short of the kernel's limit."""
    levels = _at(here, *[b"level%d" % number for number in range(60)])
    os.makedirs(levels)
    _write(_at(levels, b"bottom"))
    long = here
    while len(long) < PATH_LIMIT - 500:
        long = _at(long, b"l" * 220)
        os.mkdir(long)
        _write(_at(long, b"f"))
    _write(_at(long, b"n" * 200))


def _flags(base: bytes) -> None:
    here = _at(base, b"flags")
    os.mkdir(here)
    for name, flag in ((b"immutable", b"+i"), (b"append only", b"+a"), (b"new\nline", b"+i")):
        subprocess.run([b"chattr", flag, b"--", _write(_at(here, name))], check=True)
