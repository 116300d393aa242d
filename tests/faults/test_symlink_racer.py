"""A user who swaps links gets root neither to read nor to write outside the watched tree.

Counted is each raced entry in each run of a capture, rollback or rebuild: one run over 110 entries is 110 operations.
It is a lower bound of the chances the racer had, as every operation takes several system calls, and an upper
bound of the entries actually reached, as a folder that just was a symlink hides what it holds.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests import needs
from tests.command import Pacha, Result
from tests.faults.racer import SECRET, Racer
from tests.faults.shares import shares
from tests.plainhg import StoreCopy

pytestmark = [needs.root, pytest.mark.fault]

CI_OPERATIONS, SOAK_OPERATIONS = 1500, 10_000
CI_REBUILT = 440
SECONDS_FOR_NAIVE = 20.0


@pytest.fixture
def racer(arena: Path) -> Racer:
    """Ten folders of nine files and ten leaves: 110 raced entries."""
    return Racer(arena, folders=10, files=9, leaves=10)


def acceptable(result: Result) -> bool:
    """Done, or done but for entries that are named."""
    return result.code in (0, 3) and "Traceback" not in result.err


@pytest.mark.parametrize("operations", shares(CI_OPERATIONS, SOAK_OPERATIONS))
def test_raced_captures(pacha: Pacha, racer: Racer, tmp_path: Path, operations: int) -> None:
    pacha.ok("watch", racer.tree)
    changes = 0
    with racer.running() as exchanges_made:
        for run in range(-(-operations // racer.entries)):
            (pacha.state / "index.sqlite").unlink(missing_ok=True)  # so that every entry is read anew
            result = pacha.run("capture", "--json")
            assert acceptable(result), result
            changes += len(result.json["changed"])
            assert racer.canary.traces() == [], f"run {run}"
        exchanges = exchanges_made()
    assert exchanges > operations, "the racer was too slow"
    assert changes > operations // racer.entries, "no capture ever met an exchanged entry"
    assert not StoreCopy(pacha.store, tmp_path / "copy").holds(SECRET)
    print(f"{operations} raced reads, {exchanges} exchanges, {changes} changes captured")


@pytest.mark.parametrize("operations", shares(CI_OPERATIONS, SOAK_OPERATIONS))
def test_raced_rollbacks(pacha: Pacha, racer: Racer, tmp_path: Path, operations: int) -> None:
    race_back_and_forth(pacha, racer, tmp_path, operations, racer.tree, "rollback", racer.tree)


@pytest.mark.parametrize("operations", shares(CI_REBUILT, SOAK_OPERATIONS))
def test_raced_rebuilds(pacha: Pacha, racer: Racer, arena: Path, tmp_path: Path, operations: int) -> None:
    pacha.config.write_text(f'host = "web1"\nroot = "{arena}"\n')
    words = ("rebuild", "web1", "--skip", "packages", "--skip", "users")
    race_back_and_forth(pacha, racer, tmp_path, operations, f"/{racer.tree.relative_to(arena)}", *words)


def race_back_and_forth(
    pacha: Pacha, racer: Racer, tmp_path: Path, operations: int, tree: str | Path, *words: str | Path
) -> None:
    """Bring the tree, so called, to its second revision and back to its first with the verb of these words."""
    first = pacha.ok("watch", tree)["revision"]
    racer.write("second")
    second = pacha.ok("capture")["revision"]
    steps = 0
    with racer.running() as exchanges_made:
        for run in range(-(-operations // racer.entries)):
            result = pacha.run(*words, "--to", (first, second)[run % 2], "-y", "--json")
            assert acceptable(result), result
            steps += len(result.json["steps"])
            assert racer.canary.traces() == [], f"run {run}"
        exchanges = exchanges_made()
    assert exchanges > operations, "the racer was too slow"
    assert steps > operations // 4, "too few entries were written at all"
    assert not StoreCopy(pacha.store, tmp_path / "copy").holds(SECRET)
    pacha.ok(*words, "--to", first, "-y")
    assert (racer.tree / "d0" / "f0").read_text().startswith("first")
    print(f"{operations} raced writes, {exchanges} exchanges, {steps} steps")


@pytest.mark.parametrize("runs", shares(6, 100))
def test_the_watched_folder_itself_is_swapped(pacha: Pacha, racer: Racer, tmp_path: Path, runs: int) -> None:
    """Its parent belongs to the racer too, so even the path that was named becomes a symlink."""
    first = pacha.ok("watch", racer.tree)["revision"]
    with racer.running(swap_root=True):
        for run in range(runs):
            words = ("capture",) if run % 2 else ("rollback", racer.tree, "--to", first, "-y")
            result = pacha.run(*words, "--json")
            assert result.code in (0, 1, 3), result
            assert "Traceback" not in result.err + result.out
            assert racer.canary.traces() == [], f"run {run}"
    assert not StoreCopy(pacha.store, tmp_path / "copy").holds(SECRET)


def test_this_harness_catches_the_naive(racer: Racer) -> None:
    """Opening by path with O_NOFOLLOW, as many tools do, reads the canary within seconds."""
    deadline = time.monotonic() + SECONDS_FOR_NAIVE
    with racer.running():
        while time.monotonic() < deadline:
            for folder in racer.folders:
                if reads_canary(racer.tree / folder / racer.files[0]):
                    assert racer.canary.traces()
                    return
    pytest.fail("the racer never got a naive reader to follow")


def reads_canary(path: Path) -> bool:
    """Whether this naive reader was led astray."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return SECRET in file.read()
    except OSError:
        return False
