"""The oracle judged in turn: every seeded mutation must be caught, and nothing else reported."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import needs
from tests.oracle import compare, save_twin, wipe

pytestmark = [needs.root, needs.tools]

BLOCK = 4096
Mutation = Callable[[Path], object]


def sh(*argv: str | Path) -> None:
    """Run a tool that must succeed."""
    subprocess.run([str(word) for word in argv], check=True, capture_output=True)


@pytest.fixture
def pair(arena: Path) -> tuple[Path, Path]:
    """A small tree with one of everything, and its twin."""
    live, twin = arena / "live", arena / "twin"
    build(live)
    save_twin(live, twin)
    return live, twin


def build(live: Path) -> None:
    """One entry for each aspect that a mutation touches."""
    for folder in ("", "sub", "empty", "sticky"):
        (live / folder).mkdir()
    for name in ("plain", "tool", "second", "new\nline", "Case"):
        (live / name).write_bytes(b"content of " + name.encode() + b"\n")
    (live / "same1").write_bytes(b"the same\n")
    (live / "same2").write_bytes(b"the same\n")
    (live / "b1").hardlink_to(live / "same1")
    (live / "sub" / "b2").hardlink_to(live / "same2")
    with open(live / "holes", "wb") as file:
        file.write(b"x" * BLOCK)
        file.seek(16 * BLOCK)
        file.write(b"y" * BLOCK)
    (live / "link").symlink_to("plain")
    os.mkfifo(live / "fifo", 0o640)
    os.mknod(live / "device", stat.S_IFBLK | 0o600, os.makedev(7, 200))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(live / "socket"))
    os.chmod(live / "tool", 0o4755)
    os.chmod(live / "sticky", 0o1777)
    sh("setfattr", "-n", "user.colour", "-v", "blue", live / "plain")
    sh("setfattr", "-h", "-n", "trusted.note", "-v", "one", live / "link")
    sh("setcap", "cap_net_bind_service=ep", live / "second")
    sh("setfacl", "-m", "u:12345:r,m::rw", live / "plain")
    sh("setfacl", "-d", "-m", "g:777:rx", live / "sub")
    os.link(live / "plain", live / "spare")


def keep_time(change: Mutation, name: str = "plain") -> Mutation:
    """The change, with the file's times put back afterwards."""

    def changed(live: Path) -> None:
        before = os.lstat(live / name)
        change(live)
        times = (before.st_atime_ns, before.st_mtime_ns)
        os.utime(live / name, ns=times, follow_symlinks=False)

    return changed


def later(live: Path, name: str, nanoseconds: int) -> None:
    """Move an mtime by a little."""
    before = os.lstat(live / name)
    os.utime(live / name, ns=(before.st_atime_ns, before.st_mtime_ns + nanoseconds), follow_symlinks=False)


def fill_hole(live: Path) -> None:
    """Write zeros where nothing was: the content stays, the space taken does not."""
    with open(live / "holes", "r+b") as file:
        file.seek(4 * BLOCK)
        file.write(bytes(BLOCK))


def replant(live: Path, name: str, make: Callable[[Path], object]) -> None:
    """Replace an entry by one of another kind or with other numbers."""
    (live / name).unlink()
    make(live / name)


def regroup(live: Path) -> None:
    """Exchange the partners of two hard-link groups with equal content and equal link counts."""
    os.rename(live / "b1", live / "held")
    os.rename(live / "sub" / "b2", live / "b1")
    os.rename(live / "held", live / "sub" / "b2")


def break_link(live: Path) -> None:
    """Two files where there was one."""
    content = (live / "same1").read_bytes()
    (live / "b1").unlink()
    (live / "b1").write_bytes(content)


def other_case(live: Path) -> None:
    """A name that only differs in case."""
    os.rename(live / "Case", live / "case")


MUTATIONS: dict[str, Mutation] = {
    "same size edit": keep_time(lambda live: (live / "plain").write_bytes(b"Content of plain\n")),
    "one byte more": keep_time(lambda live: (live / "plain").write_bytes(b"content of plain\n\n")),
    "truncated": keep_time(lambda live: os.truncate(live / "plain", 3)),
    "mtime 1 ns later": lambda live: later(live, "second", 1),
    "mtime of a symlink": lambda live: later(live, "link", 1),
    "mtime before 1970": lambda live: os.utime(live / "plain", ns=(0, -1)),
    "hole filled with zeros": keep_time(fill_hole, "holes"),
    "permission bit": lambda live: os.chmod(live / "plain", 0o641),
    "setuid lost": lambda live: os.chmod(live / "tool", 0o755),
    "sticky lost": lambda live: os.chmod(live / "sticky", 0o777),
    "mode of a directory": lambda live: os.chmod(live / "empty", 0o700),
    "mode of the root": lambda live: os.chmod(live, 0o700),
    "mode of a fifo": lambda live: os.chmod(live / "fifo", 0o600),
    "owner": lambda live: os.chown(live / "plain", 4321, -1),
    "group": lambda live: os.chown(live / "plain", -1, 4321),
    "owner of a symlink": lambda live: os.lchown(live / "link", 4321, -1),
    "owner of a directory": lambda live: os.chown(live / "empty", 4321, 4321),
    "xattr changed": lambda live: sh("setfattr", "-n", "user.colour", "-v", "gray", live / "plain"),
    "xattr added": lambda live: sh("setfattr", "-n", "user.more", live / "new\nline"),
    "xattr removed": lambda live: sh("setfattr", "-x", "user.colour", live / "plain"),
    "xattr of a directory": lambda live: sh("setfattr", "-n", "user.more", live / "empty"),
    "xattr of a symlink": lambda live: sh("setfattr", "-h", "-n", "trusted.note", "-v", "two", live / "link"),
    "security label": lambda live: sh(
        "setfattr", "-n", "security.selinux", "-v", "a:b:c:s0", live / "second"
    ),
    "capability changed": lambda live: sh("setcap", "cap_net_raw=ep", live / "second"),
    "capability lost": lambda live: sh("setcap", "-r", live / "second"),
    "ACL entry": lambda live: sh("setfacl", "-m", "u:12345:rw", live / "plain"),
    "ACL mask": lambda live: sh("setfacl", "-m", "m::r", live / "plain"),
    "ACL lost": lambda live: sh("setfacl", "-b", live / "plain"),
    "default ACL": lambda live: sh("setfacl", "-k", live / "sub"),
    "symlink target": keep_time(lambda live: replant(live, "link", lambda at: at.symlink_to("tool")), "link"),
    "symlink to copy": lambda live: replant(live, "link", lambda at: at.write_bytes(b"content of plain\n")),
    "fifo to file": lambda live: replant(live, "fifo", Path.touch),
    "socket gone": lambda live: (live / "socket").unlink(),
    "device number": keep_time(
        lambda live: replant(
            live, "device", lambda at: os.mknod(at, stat.S_IFBLK | 0o600, os.makedev(7, 201))
        ),
        "device",
    ),
    "character for block": lambda live: replant(
        live, "device", lambda at: os.mknod(at, stat.S_IFCHR | 0o600, os.makedev(7, 200))
    ),
    "hard link broken": break_link,
    "hard links regrouped": regroup,
    "file gone": lambda live: (live / "new\nline").unlink(),
    "file added": lambda live: (live / "sub" / "more\nlines").touch(),
    "empty directory gone": lambda live: (live / "empty").rmdir(),
    "empty directory added": lambda live: (live / "sub" / "void").mkdir(),
    "case of a name": other_case,
    "immutable": lambda live: sh("chattr", "+i", live / "second"),
    "append only": lambda live: sh("chattr", "+a", live / "sub"),
}


@pytest.mark.parametrize("what", MUTATIONS)
def test_a_mutation_is_caught(pair: tuple[Path, Path], what: str) -> None:
    live, twin = pair
    MUTATIONS[what](live)
    assert compare(twin, live), f"not seen: {what}"


def test_a_fresh_twin_is_identical(pair: tuple[Path, Path]) -> None:
    live, twin = pair
    assert compare(twin, live) == []


def test_what_is_not_kept_is_not_reported(pair: tuple[Path, Path]) -> None:
    live, twin = pair
    os.utime(live / "sub", ns=(0, 0))
    os.utime(live / "plain", ns=(0, os.lstat(live / "plain").st_mtime_ns))
    (live / "plain").read_bytes()
    assert compare(twin, live) == []


def test_a_twin_keeps_flags_and_can_be_wiped(arena: Path) -> None:
    live, twin = arena / "live", arena / "twin"
    build(live)
    sh("chattr", "+i", live / "plain")
    sh("chattr", "+a", live / "second")
    sh("chattr", "+i", live / "empty")
    save_twin(live, twin)
    assert compare(twin, live) == []
    with pytest.raises(PermissionError):
        (twin / "plain").write_bytes(b"")
    wipe(twin)
    wipe(live)
    assert list(arena.iterdir()) == []


def test_a_tool_that_cannot_answer_is_an_error(pair: tuple[Path, Path]) -> None:
    live, twin = pair
    wipe(twin)
    with pytest.raises((RuntimeError, OSError)):
        compare(twin, live)
