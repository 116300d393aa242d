"""The live tree below a root: what is there, and no way out of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pacha.adapters.files.tree import Tree
from pacha.core.tracked import Vanished


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a secret beside it, and links of every sort."""
    place = tmp_path / "root"
    (place / "etc" / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_text("outside")
    (place / "etc" / "hosts").write_text("hosts")
    (place / "usr" / "bin").mkdir(parents=True)
    (place / "bin").symlink_to("usr/bin")
    (place / "abs").symlink_to("/etc/sub")
    (place / "out").symlink_to("../..")
    (place / "etc" / "outside").symlink_to(tmp_path / "secret")
    (place / "loop").symlink_to("loop2")
    (place / "loop2").symlink_to("loop")
    (place / "chain").symlink_to("bin/../../abs")
    return place


@pytest.fixture
def tree(root: Path) -> Tree:
    return Tree(os.fsencode(root))


def test_a_directory_lists_its_entries_sorted(tree: Tree, root: Path) -> None:
    (root / "etc" / os.fsdecode(b"\xff")).touch()
    with tree.directory(b"/etc") as directory:
        assert directory.path == b"/etc"
        assert directory.names() == [b"hosts", b"outside", b"sub", b"\xff"]
        assert [(name, status.st_ino) for name, status in directory.entries()] == [
            (name, os.lstat(os.fsencode(root / "etc") + b"/" + name).st_ino) for name in directory.names()
        ]
        assert directory.lstat(b"none") is None
        with directory.child(b"sub") as child:
            assert child.path == b"/etc/sub"


@pytest.mark.parametrize("name", [b"hosts", b"outside", b"none"])
def test_what_is_no_directory_has_vanished_as_one(tree: Tree, name: bytes) -> None:
    with tree.directory(b"/etc") as directory, pytest.raises(Vanished):
        directory.child(name)


@pytest.mark.parametrize(
    "path", [b"/bin", b"/abs", b"/out", b"/etc/hosts", b"/none", b"/bin/x", b"/etc/hosts/x", b"/loop"]
)
def test_no_directory_is_opened_through_a_link(tree: Tree, path: bytes) -> None:  # fmt: skip
    with pytest.raises(OSError) as caught:
        tree.directory(path)
    assert caught.value.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def test_the_status_of_an_entry(tree: Tree, root: Path) -> None:
    for path in (b"/", b"/etc", b"/etc/hosts", b"/bin", b"/loop"):
        found = tree.lstat(path)
        assert found is not None
        assert found.st_ino == os.lstat(os.fsencode(root) + path).st_ino
    for path in (b"/none", b"/none/x", b"/etc/hosts/x", b"/bin/x", b"/out/secret", b"/abs/x"):
        assert tree.lstat(path) is None
    with pytest.raises(OSError, match="File name too long"):
        tree.lstat(b"/" + b"x" * 300)


def test_is_directory(tree: Tree) -> None:
    assert tree.is_directory(b"/")
    assert tree.is_directory(b"/etc/sub")
    for path in (b"/bin", b"/etc/hosts", b"/none", b"/out"):
        assert not tree.is_directory(path)


def test_small_texts_are_read_and_others_are_empty(tree: Tree) -> None:
    assert tree.content(b"/etc/hosts") == b"hosts"
    for path in (b"/none", b"/etc", b"/etc/outside", b"/out/secret", b"/"):
        assert tree.content(path) == b""


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        (b"/", b"/"),
        (b"", b"/"),
        (b"//etc//./hosts/", b"/etc/hosts"),
        (b"/bin/sh", b"/usr/bin/sh"),
        (b"/bin", b"/bin"),
        (b"/abs/x", b"/etc/sub/x"),
        (b"/chain/x", b"/etc/sub/x"),
        (b"/out/etc/x", b"/etc/x"),
        (b"/../../etc", b"/etc"),
        (b"/bin/../x", b"/usr/x"),
        (b"/none/../etc/hosts", b"/etc/hosts"),
        (b"/none/deep/er", b"/none/deep/er"),
        (b"/etc/hosts/x", b"/etc/hosts/x"),
        (b"/loop", b"/loop"),
        (b"/etc/outside", b"/etc/outside"),
    ],
)
def test_paths_are_resolved_as_seen_from_the_root(tree: Tree, path: bytes, resolved: bytes) -> None:
    assert tree.resolve(path) == resolved
    assert tree.resolve(resolved) == resolved


def test_a_loop_is_told(tree: Tree) -> None:
    with pytest.raises(OSError) as caught:
        tree.resolve(b"/loop/x")
    assert caught.value.errno == errno.ELOOP


def test_a_long_chain_is_as_long_as_the_kernels(tree: Tree, root: Path) -> None:
    (root / "l0").mkdir()
    for number in range(1, 42):
        (root / f"l{number}").symlink_to(f"l{number - 1}")
    assert tree.resolve(b"/l40/x") == b"/l0/x"
    with pytest.raises(OSError, match="symbolic links"):
        tree.resolve(b"/l41/x")


def test_this_machines_root_resolves_as_the_system_does(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    mine = Tree(b"/").resolve(os.fsencode(tmp_path / "link" / "x"))
    assert mine == os.path.realpath(os.fsencode(tmp_path / "link" / "x"))


def test_a_root_that_is_not_there_is_an_error_when_it_is_used(tmp_path: Path) -> None:
    tree = Tree(os.fsencode(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        tree.directory(b"/")


def test_a_swapped_directory_stays_the_one_that_was_opened(tree: Tree, root: Path, tmp_path: Path) -> None:
    with tree.directory(b"/etc") as directory:
        (root / "etc").rename(root / "was")
        (root / "etc").symlink_to(tmp_path)
        assert b"hosts" in directory.names()
        assert b"secret" not in directory.names()
    assert tree.lstat(b"/etc/secret") is None
