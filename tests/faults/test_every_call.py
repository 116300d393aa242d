"""A systematic pass: killed at, or failed in, the n-th writing system call of one run, for n = 1, 2, 3, …"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import needs
from tests.command import Result, spoke_plainly
from tests.faults import strace
from tests.faults.shares import points_in_ci, shares
from tests.faults.strace import Point
from tests.faults.world import Facts, World, facts, half_done, other_state

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
