"""A systematic pass: killed at, or failed in, the n-th writing system call of one run, for n = 1, 2, 3, …"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import needs
from tests.command import Result, spoke_plainly
from tests.faults import strace
from tests.faults.shares import points_in_ci, shares
from tests.faults.strace import Point
from tests.faults.world import Facts, World, facts, half_done, other_state
from tests.plainhg import StoreCopy

pytestmark = [needs.strace, pytest.mark.fault]

ALL = 0
Blow = Callable[[int, Point], Result]


class CaptureSweep:
    """One capture, again and again, each time struck at another point."""

    def __init__(self, place: Path) -> None:
        self.world = World.at(place / "world")
        self.copy = place / "copy"
        self.log = place / "log"
        self.rounds = 0
        self.change()
        self.world.capture()
        self.change()
        result, calls = strace.record(self.world.pacha, self.log, "capture", "--json")
        assert result.code == 0, result
        self.world.ledger.note(result)
        self.points = strace.points(calls, [self.world.tree, self.world.pacha.state], self.world.pacha.store)

    def change(self) -> None:
        """The same sort of change each time: an edit, a mode, a new file, one removed."""
        tree = self.world.tree
        (tree / "d0" / "file0.conf").write_text(f"round {self.rounds}\n")
        (tree / "d1" / "file1.conf").chmod(0o600 if self.rounds % 2 else 0o644)
        (tree / "d3" / f"new{self.rounds - 1}").unlink(missing_ok=True)
        self.rounds += 1
        (tree / "d3" / f"new{self.rounds - 1}").write_text("new\n")

    def strike(self, number: int, point: Point, effect: str, *, onwards: bool = False) -> Result:
        """One struck capture; what it said."""
        self.change()
        words = ("capture", "--json") if number % 2 else ("capture",)
        result = self.world.pacha.run(*words, before=point.options(effect, self.log, onwards=onwards))
        self.world.ledger.note(result)
        return result

    def after(self, number: int, result: Result) -> None:
        """What must hold after each: the next command works, and what counted as done is done."""
        self.world.recovers("status" if number % 3 == 0 else "capture")
        again = self.world.capture()
        if result.code == 0:
            assert number % 3 or again.revision is None, (
                "a capture that was acknowledged had to be made again"
            )


class RollbackSweep:
    """One rollback between two states, again and again, each time struck at another point."""

    def __init__(self, place: Path) -> None:
        self.world = World.at(place / "world")
        self.copy = place / "copy"
        self.log = place / "log"
        self.target, self.new = self.world.ledger.revisions()[0], facts(self.world.tree)
        other_state(self.world.tree)
        self.source, self.old = str(self.world.capture().revision), facts(self.world.tree)
        result, calls = strace.record(self.world.pacha, self.log, *self.words(self.target))
        assert result.code == 0, result
        self.world.ledger.note(result)
        assert facts(self.world.tree) == self.new
        self.points = strace.points(calls, [self.world.tree, self.world.pacha.state], self.world.pacha.store)

    def words(self, revision: str) -> tuple[str | Path, ...]:
        """The command line of a rollback."""
        return ("rollback", self.world.tree, "--to", revision, "-y", "--json")

    def strike(self, number: int, point: Point, effect: str, *, onwards: bool = False) -> Result:
        """From the second state, one struck rollback to the first; what it said."""
        self.world.recovers(*self.words(self.source)[:-1])
        assert facts(self.world.tree) == self.old
        result = self.world.pacha.run(
            *self.words(self.target), before=point.options(effect, self.log, onwards=onwards)
        )
        self.world.ledger.note(result)
        assert half_done(self.old, self.new, without_temporary(facts(self.world.tree))) == []
        return result

    def after(self, number: int, result: Result) -> None:
        """The next command works and clears up, and the rollback can be run to its end."""
        self.world.recovers("status" if number % 2 else "capture")
        self.world.recovers(*self.words(self.target)[:-1])
        assert facts(self.world.tree) == self.new


class ForgetSweep:
    """One file forgotten, again and again, each time struck at another point; its neighbours stay."""

    def __init__(self, place: Path, is_long: bool) -> None:
        self.world = World.at(place / "world")
        self.copy = place / "copy"
        self.log = place / "log"
        self.is_long = is_long
        self.secret = self.world.tree / "d0" / "file0.conf"
        # Named as Mercurial names what it keeps of the secret's own log meanwhile.
        for name in ("undo.backup.file0.conf.i.bck", "file0.conf.i.tmpcensored"):
            (self.secret.parent / name).write_text("a neighbour\n")
        self.write()
        result, calls = strace.record(self.world.pacha, self.log, *self.words())
        assert result.code == 0, result
        self.points = strace.points(calls, [self.world.pacha.state], self.world.pacha.store)

    def words(self) -> tuple[str | Path, ...]:
        """The command line that forgets."""
        return ("forget", self.secret, "-y", "--json")

    def write(self) -> None:
        """Two more versions: the file has a log of one file, or, where it is long, of two.

        Without its index Pacha does not know that the file changes more often than it captures one.
        """
        (self.world.pacha.state / "index.sqlite").unlink()
        for number in range(2):
            self.secret.write_bytes(os.urandom(150_000 if self.is_long else 100) + b"TOKEN%d" % number)
            assert self.world.capture().revision

    def strike(self, point: Point) -> Result:
        """Forget anew, struck once."""
        self.write()
        return self.world.pacha.run(*self.words(), before=point.options("signal=KILL", self.log))

    def after(self) -> None:
        """Asked again it forgets; nothing of it lies anywhere, and everything else can be read."""
        assert self.world.pacha.run(*self.words()).code in (0, 2), "2: nothing was left to be forgotten"
        self.world.recovers("verify")
        assert not [path for path in files_below(self.world.pacha.state) if b"TOKEN" in path.read_bytes()]
        copy = StoreCopy(self.world.pacha.store, self.copy)
        assert self.world.ledger.lost(copy) == []
        for path in files_below(self.world.tree):
            if path != self.secret:
                assert copy.hg("cat", "-r", "tip", f"path:files{path}") == path.read_bytes()


def files_below(place: Path) -> list[Path]:
    """Every regular file there."""
    return [path for path in place.rglob("*") if path.is_file() and not path.is_symlink()]


Sweep = CaptureSweep | RollbackSweep
SWEEPS: dict[str, type[CaptureSweep] | type[RollbackSweep]] = {
    "capture": CaptureSweep,
    "rollback": RollbackSweep,
}


def without_temporary(found: Facts) -> Facts:
    """All but the temporary files, which may lie about until the next command."""
    return {path: entry for path, entry in found.items() if not Path(path).name.startswith(".pacha.")}


def sweep_over(
    sweep: Sweep, chosen: list[Point], blow: Blow, judge: Callable[[Point, Result], list[str]]
) -> None:
    """Strike at every chosen point; go on after a failure, so that one run shows them all."""
    assert chosen, "the recorded run wrote nothing"
    failures = []
    for number, point in enumerate(chosen):
        try:
            result = blow(number, point)
            failures += [f"at {point}: {fault}" for fault in judge(point, result)]
            sweep.after(number, result)
        except AssertionError as error:
            failures.append(f"at {point}: {error}")
    assert not failures, "\n\n".join([f"{len(failures)} failures at {len(chosen)} points", *failures])
    sweep.world.ledger.check(sweep.world.pacha, sweep.copy)


@pytest.mark.parametrize("most", shares(10, ALL))
@pytest.mark.parametrize("what", SWEEPS)
def test_killed_at_every_call(memory: Path, what: str, most: int) -> None:
    sweep = SWEEPS[what](memory)
    met = 0

    def blow(number: int, point: Point) -> Result:
        nonlocal met
        result = sweep.strike(number, point, "signal=KILL")
        met += strace.struck(sweep.log)
        return result

    chosen = strace.spread(sweep.points, most and points_in_ci(most))
    sweep_over(sweep, chosen, blow, lambda _, result: tracebacks(result))
    assert met > len(chosen) // 2, "too few points were met"


@pytest.mark.parametrize("most", shares(8, ALL))
@pytest.mark.parametrize("is_long", [False, True])
def test_killed_while_it_forgets(memory: Path, is_long: bool, most: int) -> None:
    sweep = ForgetSweep(memory, is_long)
    # The share of CI is where one file takes another's place.
    calls = ("rename",) if most else (*strace.NAMES, "unlink", "unlinkat")
    failures, met = [], 0
    chosen = strace.spread([point for point in sweep.points if point.call in calls], most)
    for point in chosen:
        try:
            sweep.strike(point)
            met += strace.struck(sweep.log)
            sweep.after()
        except AssertionError as error:
            failures.append(f"at {point}: {error}")
    assert not failures, "\n\n".join([f"{len(failures)} failures at {len(chosen)} points", *failures])
    assert met > len(chosen) // 2, "too few points were met"


@pytest.mark.parametrize("most", shares(4, ALL))
@pytest.mark.parametrize("what", SWEEPS)
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_failed_in_every_call(memory: Path, what: str, error: str, most: int) -> None:
    sweep = SWEEPS[what](memory)
    kinds = strace.DATA + (strace.NAMES if error == "ENOSPC" else strace.SYNC)
    candidates = [point for point in sweep.points if point.call in kinds]
    store = f"{sweep.world.pacha.store}/"

    def judge(point: Point, result: Result) -> list[str]:
        if result.code != 0:
            return spoke_plainly(result)
        unsynced = point.call in strace.SYNC and point.about.startswith(store) and strace.struck(sweep.log)
        return tracebacks(result) + ["acknowledged, though the disk had said no"] * unsynced

    chosen = strace.spread(candidates, most and points_in_ci(most))
    sweep_over(
        sweep,
        chosen,
        lambda number, point: sweep.strike(number, point, f"error={error}", onwards=number % 4 >= 2),
        judge,
    )


def tracebacks(result: Result) -> list[str]:
    """A traceback is never how a person is told."""
    return [f"a traceback: {result}"] * ("Traceback" in result.err + result.out)
