"""A disk that is full, or can't be written: told in a sentence, nothing lost, and well again with space."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import needs, unprivileged
from tests.command import Pacha, spoke_plainly
from tests.faults.loopfs import loop_fs
from tests.faults.world import World, build, facts, other_state

pytestmark = pytest.mark.fault

ROOM = 256 << 10


@needs.loop
@pytest.mark.parametrize("leave", [0, 4096, 40_960])
def test_a_full_state_disk(tmp_path: Path, leave: int) -> None:
    with loop_fs(tmp_path, 32) as disk:
        world = World.at(tmp_path / "world", state=disk.at / "pacha")
        ballast = disk.fill(leave)
        for number in range(3):
            (world.tree / "d0" / f"large{number}").write_bytes(world.random.randbytes(ROOM))
            result = world.pacha.run("capture")
            assert spoke_plainly(result) == []
        ballast.unlink()
        done = world.capture()
        assert done.revision
        world.ledger.check(world.pacha, tmp_path / "copy")
        assert world.pacha.ok("verify")["ok"]


@needs.loop
def test_a_disk_that_fills_up_under_captures(tmp_path: Path) -> None:
    with loop_fs(tmp_path, 16) as disk:
        world = World.at(tmp_path / "world", state=disk.at / "pacha")
        failed = False
        for number in range(100):
            (world.tree / "d0" / "large").write_bytes(world.random.randbytes(4 * ROOM + number))
            result = world.pacha.run("capture", "--json")
            world.ledger.note(result)
            if result.code != 0:
                failed = True
                assert spoke_plainly(result) == []
                break
        assert failed, "the disk never filled up"
        (world.tree / "d0" / "large").write_text("small again\n")
        result = world.pacha.run("capture", "--json")
        world.ledger.note(result)
        assert result.code == 0 or spoke_plainly(result) == []
        world.ledger.check(world.pacha, tmp_path / "copy")


@needs.loop
def test_a_full_disk_under_the_live_files(tmp_path: Path) -> None:
    with loop_fs(tmp_path, 16) as disk:
        world = World.at(disk.at / "world", state=tmp_path / "state")
        (world.tree / "d0" / "large").write_bytes(world.random.randbytes(4 * ROOM))
        large = str(world.capture().revision)
        at_large = facts(world.tree)
        (world.tree / "d0" / "large").write_text("small\n")
        other_state(world.tree)
        world.capture()
        at_small = facts(world.tree)
        ballast = disk.fill(8192)
        result = world.pacha.run("rollback", world.tree, "--to", large, "-y")
        assert spoke_plainly(result) == []
        assert facts(world.tree)["d0/large"] in (at_small["d0/large"], at_large["d0/large"])
        world.recovers("status")
        ballast.unlink()
        world.recovers("rollback", world.tree, "--to", large, "-y")
        assert facts(world.tree) == at_large


@needs.loop
def test_a_read_only_state_disk(tmp_path: Path) -> None:
    with loop_fs(tmp_path) as disk:
        world = World.at(tmp_path / "world", state=disk.at / "pacha")
        first = world.ledger.revisions()[0]
        world.change()
        before = facts(world.tree)
        disk.read_only(True)
        for words in (("capture",), ("rollback", world.tree, "--to", first, "-y")):
            assert spoke_plainly(world.pacha.run(*words)) == []
        assert facts(world.tree) == before
        disk.read_only(False)
        assert world.capture().revision
        world.ledger.check(world.pacha, tmp_path / "copy")


@needs.root
def test_a_state_folder_without_write_permission(open_arena: Path) -> None:
    """Permissions don't hold root back, so this is an ordinary user's Pacha."""
    python = unprivileged.interpreter(open_arena)
    if python is None:
        pytest.skip("no Python of this version that other users may run")
    pacha = Pacha.at(open_arena / "pacha", interpreter=python, user=unprivileged.USER)
    tree = open_arena / "arena" / "tree"
    tree.parent.mkdir()
    os.chown(tree.parent, unprivileged.USER, unprivileged.USER)
    unprivileged.as_user(lambda: build(tree))
    pacha.ok("watch", tree)
    pacha.state.chmod(0o500)
    (tree / "d0" / "file0.conf").write_text("changed\n")
    os.chown(pacha.state, 0, 0)
    assert spoke_plainly(pacha.run("capture")) == []
    os.chown(pacha.state, unprivileged.USER, unprivileged.USER)
    pacha.state.chmod(0o700)
    assert pacha.ok("capture")["revision"]


@needs.root
def test_a_state_that_cannot_be_made(tmp_path: Path) -> None:
    """The path to the state leads through a file."""
    build(tmp_path / "tree")
    pacha = Pacha.at(tmp_path / "pacha")
    pacha.state.rmdir()
    pacha.state.write_text("in the way\n")
    result = pacha.run("watch", tmp_path / "tree")
    assert spoke_plainly(result) == []
    assert pacha.state.read_text() == "in the way\n"
