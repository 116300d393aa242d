"""Power cuts on an ext4 with a journal: what was acknowledged is there afterwards, and nothing needs mending."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests import needs
from tests.command import Result
from tests.faults.kill import CHILD, GROUP, Moments, kill, wait_until
from tests.faults.loopfs import LoopFs, loop_fs
from tests.faults.shares import shares
from tests.faults.world import World, facts, half_done, mean_seconds, other_state
from tests.plainhg import StoreCopy

pytestmark = [needs.loop, pytest.mark.fault]

GRACE = 3.0  # seconds that a command may still take after its disk is gone


@contextmanager
def neighbour(disk: LoopFs, busy: bool) -> Iterator[None]:
    """A database on the same disk that syncs all the time, and so makes half-written files of others last."""
    stop = threading.Event()

    def write() -> None:
        with suppress(OSError), open(disk.at / "neighbour", "ab") as file:
            while not stop.is_set():
                file.write(b"row\n")
                file.flush()
                os.fsync(file.fileno())

    thread = threading.Thread(target=write)
    if busy:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if busy:
            thread.join()


def strike(
    world: World, disk: LoopFs, moments: Moments, *args: str | Path, busy: bool = False
) -> tuple[Result, bool]:
    """Run a command and cut the power during it; how it ended, and whether the cut met a running command."""
    with neighbour(disk, busy):
        process = world.pacha.start(*args, "--json")
        moments.await_next(process)
        met = process.poll() is None
        disk.cut_power()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=GRACE)
    kill(process, GROUP)
    result = world.pacha.finish(process)
    world.ledger.note(result)
    disk.power_on()
    return result, met


def moments_of_transactions(world: World, span: float) -> Moments:
    """Half of the instants lie within the time a transaction takes."""
    transaction = world.pacha.store / ".hg" / "store" / "journal"
    return Moments(world.random, span, transaction.exists, 0.03)


@pytest.mark.parametrize("busy", [False, True], ids=["alone", "beside a database"])
@pytest.mark.parametrize("cuts", shares(12, 250))
def test_cuts_during_captures(tmp_path: Path, cuts: int, busy: bool) -> None:
    with loop_fs(tmp_path) as disk:
        world = World.at(tmp_path / "world", state=disk.at / "pacha", seed=cuts)
        moments = moments_of_transactions(world, mean_seconds(world.pacha, "capture"))
        met = abandoned = 0
        for number in range(cuts):
            world.change()
            met += strike(world, disk, moments, "capture", busy=busy)[1]
            abandoned += (world.pacha.store / ".hg" / "store" / "journal").exists()
            world.recovers("capture" if number % 2 else "status")
            copy = StoreCopy(world.pacha.store, tmp_path / "copy")
            assert world.ledger.lost(copy) == []
            problems = [] if number % 5 else copy.complaints()
            assert not problems, "\n".join(problems)
        world.capture()
        assert world.pacha.ok("status")["pending"] == []
        world.ledger.check(world.pacha, tmp_path / "copy")
        assert met > cuts // 3, "too few cuts met a running command"
        assert moments.seen > cuts // 5, "too few cuts met a transaction"
        print(
            f"{cuts} cuts: {met} met a command, {moments.seen} a transaction, {abandoned} left one abandoned"
        )


@pytest.mark.parametrize("cuts", shares(6, 100))
def test_cuts_during_first_captures(tmp_path: Path, cuts: int) -> None:
    with loop_fs(tmp_path) as disk:
        world = World.at(tmp_path / "world", state=disk.at / "pacha", seed=cuts)
        for number in range(cuts):
            many = tmp_path / "world" / f"many{number}"
            for name in range(400):
                (many / str(name % 20)).mkdir(parents=True, exist_ok=True)
                (many / str(name % 20) / str(name)).write_text(f"{world.random.getrandbits(64)}\n")
            strike(world, disk, moments_of_transactions(world, 0.6), "watch", many)
            world.recovers("watch", many)
            world.ledger.check(world.pacha, tmp_path / "copy")


def abandon(world: World) -> None:
    """Kill captures until one leaves its transaction behind."""
    journal = world.pacha.store / ".hg" / "store" / "journal"
    for number in range(60):
        # A new file changes Mercurial's list of files, of which the transaction has a copy.
        (world.tree / f"new {world.random.getrandbits(40):x} {number}").write_text("new\n")
        process = world.pacha.start("capture", "--json")
        if wait_until(journal.exists, process):
            time.sleep(world.random.uniform(0, 0.02))
        kill(process, CHILD)  # which would undo it
        kill(process, GROUP)
        world.ledger.note(world.pacha.finish(process))
        if journal.exists():
            return
    raise AssertionError("no transaction was abandoned")


@pytest.mark.parametrize("busy", [False, True], ids=["alone", "beside a database"])
@pytest.mark.parametrize("cuts", shares(10, 150))
def test_cuts_while_a_transaction_is_undone(tmp_path: Path, cuts: int, busy: bool) -> None:
    """A transaction is being undone when the power goes; the next start undoes it again."""
    with loop_fs(tmp_path) as disk:
        world = World.at(tmp_path / "world", state=disk.at / "pacha", seed=cuts)
        inside = world.pacha.store / ".hg" / "store"
        backups = inside / "journal.backupfiles"
        moments = Moments(world.random, 0.4, lambda: not backups.exists(), 0.01)
        met = undone = 0
        for number in range(cuts):
            abandon(world)
            if number % 2:
                subprocess.run(["sync", "-f", str(disk.at)], check=True)
            met += strike(world, disk, moments, ("status", "capture")[number % 2], busy=busy)[1]
            undone += not (inside / "journal").exists()
            world.recovers("capture" if number % 3 else "status")
            world.ledger.check(world.pacha, tmp_path / "copy")
        world.capture()
        assert world.pacha.ok("status")["pending"] == []
        assert met > cuts // 3, "too few cuts met a running command"
        assert moments.seen > cuts // 6, "too few cuts met the end of a recovery"
        print(f"{cuts} cuts: {met} met a command, {moments.seen} a recovery's end, {undone} left it undone")


@pytest.mark.parametrize("cuts", shares(8, 200))
def test_cuts_during_rollbacks(tmp_path: Path, cuts: int) -> None:
    """State and live files lie on the disk that dies; a rollback that said it was done is done."""
    with loop_fs(tmp_path) as disk:
        world = World.at(disk.at / "world", state=disk.at / "pacha", seed=cuts)
        world.ledger.path = Path(shutil.copy(world.ledger.path, tmp_path / "ledger"))
        states = [(world.ledger.revisions()[0], facts(world.tree))]
        other_state(world.tree)
        states.append((str(world.capture().revision), facts(world.tree)))
        subprocess.run(["sync", "-f", str(disk.at)], check=True)
        back = ("rollback", world.tree, "--to", states[0][0], "-y")
        journal = world.pacha.state / "journal"
        span = mean_seconds(world.pacha, *back, rounds=1)
        moments = Moments(
            random.Random(cuts), span * 1.2, lambda: journal.is_dir() and any(journal.iterdir()), span / 2
        )
        (old_id, old), (target, new) = states
        for _ in range(cuts):
            result, _ = strike(world, disk, moments, "rollback", world.tree, "--to", target, "-y")
            live = {
                path: fact
                for path, fact in facts(world.tree).items()
                if not Path(path).name.startswith(".pacha.")
            }
            assert half_done(old, new, live) == []
            assert result.code != 0 or live == new, "a rollback that was done is not there"
            world.recovers("status")
            world.recovers("rollback", world.tree, "--to", target, "-y")
            assert facts(world.tree) == new
            world.ledger.check(world.pacha, tmp_path / "copy")
            (old_id, old), (target, new) = (target, new), (old_id, old)


def test_a_finished_rollback_outlives_a_cut(tmp_path: Path) -> None:
    with loop_fs(tmp_path) as disk:
        world = World.at(disk.at / "world", state=disk.at / "pacha")
        first, before = world.ledger.revisions()[0], facts(world.tree)
        other_state(world.tree)
        subprocess.run(["sync", "-f", str(disk.at)], check=True)
        done = world.pacha.run("rollback", world.tree, "--to", first, "-y", "--json")
        disk.cut_power()
        assert done.code == 0, done
        disk.power_on()
        assert facts(world.tree) == before
        world.recovers("status")


def test_this_harness_sees_what_mercurial_alone_loses(tmp_path: Path) -> None:
    """Mercurial does not sync: a commit of plain hg must be lost here, or the cuts prove nothing."""
    with loop_fs(tmp_path) as disk:
        store = disk.at / "plain"
        hg = [sys.executable, "-m", "mercurial", "--config", "ui.username=t", "--cwd", str(store)]
        subprocess.run([*hg[:-2], "init", str(store)], check=True)
        for name in ("one", "two"):
            subprocess.run(["sync", "-f", str(disk.at)], check=True)
            (store / name).write_text(name)
            subprocess.run([*hg, "commit", "-q", "-A", "-m", name], check=True)
        disk.cut_power()
        disk.power_on()
        told = subprocess.run([*hg, "log", "-T", "{desc}\n"], capture_output=True, text=True)
        assert told.stdout.split() != ["two", "one"]
