"""Reading: every kind of entry as the system's own calls have it, and never half of one version."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pacha.adapters.files import kernel
from pacha.adapters.files.read import DIGEST_AT_MOST
from pacha.adapters.files.tree import Directory, Tree
from pacha.core.entry import Entry
from pacha.core.tracked import Reading, Vanished
from tests import needs

LIMIT = 10_000


@pytest.fixture
def tree() -> Tree:
    return Tree(b"/")


def read(tree: Tree, path: Path, limit: int = LIMIT) -> Reading:
    """Read an entry as the scan does."""
    with tree.directory(os.fsencode(path.parent)) as parent:
        status = parent.lstat(os.fsencode(path.name))
        assert status is not None
        return parent.read(os.fsencode(path.name), status, limit)


def agrees(entry: Entry, path: Path) -> None:
    """Kind apart, the entry says what `lstat` says."""
    status = path.lstat()
    assert (entry.mode, entry.uid, entry.gid) == (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    assert entry.mtime == status.st_mtime_ns


@pytest.mark.parametrize("size", [0, 1, LIMIT - 1, LIMIT])
def test_a_file_within_the_limit(tree: Tree, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "x").write_bytes(data)
    os.chmod(tmp_path / "x", 0o4711)
    os.utime(tmp_path / "x", ns=(5, -1_000_000_001))
    reading = read(tree, tmp_path / "x")
    assert reading.data == data
    assert reading.entry.sha256 == hashlib.sha256(data).hexdigest().encode()
    assert (reading.entry.kind, reading.entry.size, reading.entry.unstable) == (b"file", None, False)
    assert reading.entry.has_content
    agrees(reading.entry, tmp_path / "x")


@pytest.mark.parametrize("size", [LIMIT + 1, 3 * LIMIT])
def test_of_a_larger_one_the_digest_alone(tree: Tree, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "x").write_bytes(data)
    entry = read(tree, tmp_path / "x").entry
    assert read(tree, tmp_path / "x").data is None
    assert (entry.size, entry.sha256) == (size, hashlib.sha256(data).hexdigest().encode())


def test_of_a_huge_one_not_even_that(tree: Tree, tmp_path: Path) -> None:
    with open(tmp_path / "x", "xb") as handle:
        handle.truncate(DIGEST_AT_MOST + 1)
    started = time.monotonic()
    reading = read(tree, tmp_path / "x")
    assert time.monotonic() - started < 1
    assert (reading.data, reading.entry.sha256, reading.entry.size) == (None, None, DIGEST_AT_MOST + 1)


def test_the_time_of_access_is_left_alone(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"data")
    os.utime(tmp_path / "x", ns=(5, 10**18))
    read(tree, tmp_path / "x")
    assert (tmp_path / "x").stat().st_atime_ns == 5


def test_holes_are_those_of_the_file(tree: Tree, tmp_path: Path) -> None:
    with open(tmp_path / "x", "xb") as handle:
        handle.seek(1 << 20)
        handle.write(b"d" * 4096)
        handle.truncate(2 << 20)
    reading = read(tree, tmp_path / "x", 4 << 20)
    assert reading.entry.holes == ((0, 1 << 20), ((1 << 20) + 4096, (1 << 20) - 4096))
    assert reading.data == (tmp_path / "x").read_bytes()
    (tmp_path / "full").write_bytes(b"d" * 8192)
    assert read(tree, tmp_path / "full").entry.holes == ()


def test_symlinks_are_stored_and_never_followed(tree: Tree, tmp_path: Path) -> None:
    for name, target in (("dangling", b"nowhere"), ("self", b"self"), ("odd", b"\xff\n//x/")):
        os.symlink(target, os.fsencode(tmp_path / name))
        entry = read(tree, tmp_path / name).entry
        assert (entry.kind, entry.target, entry.sha256) == (b"symlink", target, None)
        agrees(entry, tmp_path / name)


def test_fifos_and_sockets_are_not_opened(tree: Tree, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
    started = time.monotonic()
    for name in ("fifo", "socket"):
        reading = read(tree, tmp_path / name)
        assert (reading.entry.kind, reading.data) == (name.encode(), None)
        agrees(reading.entry, tmp_path / name)
    assert time.monotonic() - started < 1


@needs.root
def test_devices_have_numbers(tree: Tree, tmp_path: Path) -> None:
    for name, kind in (("char", stat.S_IFCHR), ("block", stat.S_IFBLK)):
        os.mknod(tmp_path / name, kind | 0o600, os.makedev(240, 70_000))
        entry = read(tree, tmp_path / name).entry
        assert (entry.kind, entry.device) == (name.encode(), (240, 70_000))
        agrees(entry, tmp_path / name)


def test_a_directory_has_no_time(tree: Tree, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o2750)
    with tree.directory(os.fsencode(tmp_path)) as directory:
        entry = directory.read_self().entry
    assert (entry.kind, entry.mode, entry.mtime) == (b"dir", 0o2750, None)


def test_attributes_are_sorted_and_all_there(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    for key, value in (("user.b", b""), ("user.a", bytes(range(256))), ("user.é\n=", b"x")):
        os.setxattr(tmp_path / "x", key, value)
    found = [item for item in read(tree, tmp_path / "x").entry.xattrs if item[0].startswith(b"user.")]
    assert found == [(b"user.a", bytes(range(256))), (b"user.b", b""), ("user.é\n=".encode(), b"x")]


@needs.root
def test_owners_have_numbers_and_names(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    os.chown(tmp_path / "x", 54_321, 0)
    entry = read(tree, tmp_path / "x").entry
    assert (entry.uid, entry.user, entry.gid, entry.group) == (54_321, b"", 0, b"root")


@needs.root
def test_flags_are_read(tree: Tree, arena: Path) -> None:
    (arena / "x").touch()
    descriptor = os.open(arena / "x", os.O_RDONLY)
    kernel.set_inode_flags(descriptor, b"a")
    os.close(descriptor)
    assert read(tree, arena / "x").entry.flags == b"a"


def listed(directory: Directory, name: bytes) -> os.stat_result:
    status = directory.lstat(name)
    assert status is not None
    return status


@pytest.mark.parametrize("kind", ["file", "folder", "fifo", "symlink", "gone", "another file"])
@pytest.mark.parametrize("was", ["file", "fifo"])
def test_what_was_replaced_since_it_was_listed_has_vanished(
    tree: Tree, tmp_path: Path, was: str, kind: str
) -> None:
    path = tmp_path / "x"
    if was == "file":
        path.write_text("listed")
    else:
        os.mkfifo(path)
    with tree.directory(os.fsencode(tmp_path)) as parent:
        status = listed(parent, b"x")
        path.rename(tmp_path / "kept")
        {
            "file": lambda: path.write_text("other"),
            "folder": path.mkdir,
            "fifo": lambda: os.mkfifo(path),
            "symlink": lambda: path.symlink_to("/etc/passwd"),
            "gone": lambda: None,
            "another file": path.touch,
        }[kind]()
        if was == kind == "fifo":
            assert parent.read(b"x", status, LIMIT).entry.kind == b"fifo"
            return
        with pytest.raises((Vanished, IsADirectoryError)):
            parent.read(b"x", status, LIMIT)


REWRITE = """
import os, sys
file = os.open(sys.argv[1], os.O_WRONLY)
print("writing", flush=True)
number = 0
while True:
    number = (number + 1) % 251
    os.pwrite(file, bytes([number]) * 65536, number * 65536)
"""


def test_a_file_that_keeps_changing_is_marked_and_whole_in_itself(tree: Tree, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(251 * 65536))
    command = [sys.executable, "-c", REWRITE, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        try:
            reading = read(tree, path, 10**9)
        finally:
            writer.kill()
    assert reading.entry.unstable
    assert reading.data is not None
    assert reading.entry.sha256 == hashlib.sha256(reading.data).hexdigest().encode()


def test_a_file_that_changes_once_is_read_again(tree: Tree, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old" * 1_000_000)
    done = []

    def write() -> None:
        time.sleep(0.002)
        with path.open("r+b") as file:  # without a moment in which it is empty, and rightly read so
            file.write(b"new" * 1_000_000)
        done.append(True)

    writer = threading.Thread(target=write)
    writer.start()
    reading = read(tree, path, 10**9)
    writer.join()
    assert done
    if not reading.entry.unstable:
        assert reading.data in (b"old" * 1_000_000, b"new" * 1_000_000)


@pytest.mark.parametrize("nothing", range(3))
def test_no_descriptor_is_left_open(tree: Tree, tmp_path: Path, nothing: int) -> None:
    (tmp_path / "x").write_text("x")
    os.mkfifo(tmp_path / "f")
    tree.lstat(b"/")
    before = len(os.listdir("/proc/self/fd"))
    for name in ("x", "f"):
        read(tree, tmp_path / name)
    with tree.directory(os.fsencode(tmp_path)) as parent:
        status = listed(parent, b"x")
        (tmp_path / "x").unlink()
        (tmp_path / "x").symlink_to("f")
        with pytest.raises(Vanished):
            parent.read(b"x", status, LIMIT)
    assert len(os.listdir("/proc/self/fd")) == before
