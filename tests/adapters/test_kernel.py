"""System calls: a path is opened beneath its root or not at all, by the kernel's own means and by walking alike."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacha.adapters.files import kernel
from tests import needs

Opener = Callable[[int, bytes, int], int]
OPENERS = [pytest.param(kernel.open_beneath, id="openat2"), pytest.param(kernel.walk_beneath, id="walk")]
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
FLAGS = {"folder": kernel.DIRECTORY, "path": kernel.O_PATH, "read": READ}
# A link or what is no folder on the way: both are refusals of a path that cannot be one.
NO_WAY = {errno.ELOOP: "no way", errno.ENOTDIR: "no way"}
NAMES = [
    b"a",
    b"b",
    b"file",
    b"fifo",
    b"to a",
    b"to file",
    b"up",
    b"out",
    b"self",
    b"none",
    b"closed",
    b"\xff\n",
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A tree with links in every direction, held open."""
    place = tmp_path_factory.mktemp("beneath")
    top = os.fsencode(place / "root")
    for folder in (top, top + b"/a", top + b"/a/b", top + b"/\xff\n", top + b"/closed", top + b"/a/a"):
        os.mkdir(folder)
    (place / "secret").write_bytes(b"outside")
    for folder in (b"", b"/a", b"/a/b", b"/\xff\n", b"/closed", b"/a/a"):
        here = top + folder + b"/"
        with open(here + b"file", "xb") as handle:
            handle.write(here)
        os.mkfifo(here + b"fifo")
        for name, target in (
            (b"to a", top + b"/a"), (b"to file", b"file"), (b"up", b".."), (b"out", b"/etc"), (b"self", b"self"),
        ):  # fmt: skip
            os.symlink(target, here + name)
    descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def answer(opener: Opener, root: int, path: bytes, flags: int) -> object:
    """What was opened, or which error there was."""
    try:
        descriptor = opener(root, path, flags)
    except OSError as problem:
        return NO_WAY.get(problem.errno or 0) or errno.errorcode[problem.errno or 0]
    status = os.fstat(descriptor)
    close_on_exec = not os.get_inheritable(descriptor)
    os.close(descriptor)
    return status.st_dev, status.st_ino, stat.S_IFMT(status.st_mode), close_on_exec


@settings(max_examples=400, deadline=None)
@given(
    path=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(b"/".join),
    how=st.sampled_from(sorted(FLAGS)),
)
def test_both_ways_give_the_same_answers(root: int, path: bytes, how: str) -> None:
    one = answer(kernel.open_beneath, root, path, FLAGS[how])
    assert one == answer(kernel.walk_beneath, root, path, FLAGS[how])


def test_this_kernel_has_both_ways(root: int) -> None:
    os.close(kernel.open_beneath(root, b"a", kernel.DIRECTORY))
    if not kernel.has_openat2():
        pytest.skip("a kernel without openat2: both ways are one")


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("path", [b"a", b"a/b", b"a/b/file", b"fifo", b"\xff\n/file", b"file"])
def test_what_is_beneath_is_opened(root: int, opener: Opener, path: bytes) -> None:
    found = answer(opener, root, path, kernel.O_PATH)
    status = os.stat(path, dir_fd=root)
    assert found == (status.st_dev, status.st_ino, stat.S_IFMT(status.st_mode), True)


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize(
    "path",
    [
        *(b"to a/file", b"a/to a/b", b"out/passwd", b"up/secret", b"a/up/file", b"self/x", b"to file/x"),
        *(b"../secret", b"a/../../secret", b"/etc/passwd", b"..", b"a/b/../../../secret"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", FLAGS)
def test_nothing_leads_out_or_through_a_link(root: int, opener: Opener, path: bytes, how: str) -> None:
    with pytest.raises(OSError) as caught:
        opener(root, path, FLAGS[how])
    assert caught.value.errno in (errno.ELOOP, errno.EXDEV, errno.ENOTDIR, errno.ENOENT)


@pytest.mark.parametrize("opener", OPENERS)
def test_a_magic_link_is_a_link(opener: Opener) -> None:
    proc = os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY)
    with pytest.raises(OSError):
        opener(proc, b"root/etc", kernel.DIRECTORY)
    with pytest.raises(OSError):
        opener(proc, b"cwd", kernel.DIRECTORY)
    os.close(proc)


@pytest.mark.parametrize("opener", OPENERS)
def test_a_link_itself_can_be_named(root: int, opener: Opener) -> None:
    descriptor = opener(root, b"a/to file", kernel.O_PATH)
    assert os.readlink(b"", dir_fd=descriptor) == b"file"
    os.close(descriptor)


@pytest.mark.parametrize("opener", OPENERS)
def test_no_descriptor_is_left_open(root: int, opener: Opener) -> None:
    before = os.listdir("/proc/self/fd")
    for path in (b"a/b/none", b"to a/b", b"a/file/x", b"a/../x", b"none/none"):
        with pytest.raises(OSError):
            opener(root, path, kernel.DIRECTORY)
    os.close(opener(root, b"a/b", kernel.DIRECTORY))
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("opener", OPENERS)
def test_a_deep_path(tmp_path: Path, opener: Opener) -> None:
    parts = [b"d%03d" % number for number in range(200)]
    deep = b"/".join(parts)
    os.makedirs(os.fsencode(tmp_path) + b"/" + deep)
    top = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    os.close(opener(top, deep, kernel.DIRECTORY))
    os.close(top)


def test_the_empty_path_is_the_root_itself(root: int) -> None:
    descriptor = kernel.open_beneath(root, b"", kernel.DIRECTORY)
    assert os.path.sameopenfile(descriptor, root)
    os.close(descriptor)


def test_names_change_places_at_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").mkdir()
    folder = os.open(tmp_path, os.O_RDONLY)
    kernel.rename(folder, b"a", b"b", kernel.RENAME_EXCHANGE)
    assert (tmp_path / "a").is_dir()
    assert (tmp_path / "b").read_text() == "a"
    with pytest.raises(FileExistsError):
        kernel.rename(folder, b"b", b"a", kernel.RENAME_NOREPLACE)
    kernel.rename(folder, b"b", b"c")
    assert (tmp_path / "c").read_text() == "a"
    os.close(folder)


@needs.root
@pytest.mark.parametrize(
    "make", [lambda at: os.symlink("x", at), os.mkfifo, lambda at: open(at, "x").close()]
)
def test_the_owner_of_anything_can_be_changed(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "x")
    descriptor = os.open(tmp_path / "x", kernel.O_PATH)
    kernel.chown(descriptor, 1234, 4321)
    os.close(descriptor)
    status = os.lstat(tmp_path / "x")
    assert (status.st_uid, status.st_gid) == (1234, 4321)


@needs.root
@needs.tools
@pytest.mark.parametrize("flags", [b"a", b"i", b"ai", b""])
def test_flags_are_the_systems(arena: Path, flags: bytes) -> None:
    (arena / "x").write_text("x")
    subprocess.run(["chattr", "+A", str(arena / "x")], check=True)
    descriptor = os.open(arena / "x", os.O_RDONLY)
    kernel.set_inode_flags(descriptor, b"i")
    kernel.set_inode_flags(descriptor, b"")
    kernel.set_inode_flags(descriptor, flags)
    assert kernel.inode_flags(descriptor) == flags
    os.close(descriptor)
    shown = subprocess.run(
        ["lsattr", str(arena / "x")], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    assert {letter for letter in shown if letter in "aiA"} == {*flags.decode(), "A"}


def test_what_has_no_flags_has_none() -> None:
    ours, theirs = socket.socketpair()
    assert kernel.inode_flags(ours.fileno()) == b""
    assert kernel.attributes(ours.fileno()).keys() <= {b"system.sockprotoname"}
    ours.close()
    theirs.close()


def test_attributes_of_a_file_and_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    os.setxattr(tmp_path / "x", "user.a", b"\0\xff")
    (tmp_path / "link").symlink_to("x")
    with open(tmp_path / "x") as handle:
        assert kernel.attributes(handle.fileno())[b"user.a"] == b"\0\xff"
    link = os.open(tmp_path / "link", kernel.O_PATH)
    assert b"user.a" not in kernel.attributes(kernel.magic(link))
    os.close(link)


def test_syncfs_works_on_a_folder(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    kernel.syncfs(folder)
    os.close(folder)
    with pytest.raises(OSError, match="Bad file descriptor"):
        kernel.syncfs(folder)
