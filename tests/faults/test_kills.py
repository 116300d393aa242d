"""kill -9 at random instants of captures and rollbacks: nothing acknowledged lost, no file half done."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.kill import CHILD, VICTIMS, Moments, kill
from tests.faults.shares import shares
from tests.faults.world import World, facts, half_done, mean_seconds, other_state

pytestmark = pytest.mark.fault

CAPTURES, ROLLBACKS = shares(120, 1000), shares(80, 1000)


@pytest.mark.parametrize("kills", CAPTURES)
def test_killed_captures(memory: Path, kills: int) -> None:
    world = World.at(memory / "world", seed=kills)
    choice = random.Random(kills)
    transaction = world.pacha.store / ".hg" / "store" / "journal"
    moments = Moments(choice, mean_seconds(world.pacha, "capture"), transaction.exists, 0.03)
    struck = 0
    for number in range(kills):
        world.change()
        process = world.pacha.start("capture", "--json")
        moments.await_next(process)
        victim = choice.choice(VICTIMS)
        struck += process.poll() is None
        kill(process, victim)
        result = world.pacha.finish(process)
        world.ledger.note(result)
        assert victim != CHILD or "Traceback" not in result.err, result
        world.recovers("status" if number % 2 else "capture")
    assert struck > kills // 3, "too few kills met a running command"
    assert moments.seen > kills // 6, "too few kills met a transaction"
    world.capture()
    assert world.pacha.ok("status")["pending"] == []
    world.ledger.check(world.pacha, memory / "copy")


@pytest.mark.parametrize("kills", ROLLBACKS)
def test_killed_rollbacks(memory: Path, kills: int) -> None:
    world = World.at(memory / "world", seed=kills)
    choice = random.Random(kills)
    states = [(world.ledger.revisions()[0], facts(world.tree))]
    other_state(world.tree)
    states.append((str(world.capture().revision), facts(world.tree)))
    (target, new), (_, old) = states
    journal = world.pacha.state / "journal"
    there, back = (("rollback", world.tree, "--to", revision, "-y") for revision, _ in states)
    span = (mean_seconds(world.pacha, *there, rounds=1) + mean_seconds(world.pacha, *back, rounds=1)) / 2
    moments = Moments(choice, span, lambda: journal.is_dir() and any(journal.iterdir()), span / 3)
    next_commands = (
        ["status"],
        ["capture"],
        ["log", "-n", "1"],
        ["rollback", world.tree, "--to", target, "-n"],
    )
    struck = 0
    for number in range(kills):
        process = world.pacha.start("rollback", world.tree, "--to", target, "-y", "--json")
        moments.await_next(process)
        struck += process.poll() is None
        kill(process, choice.choice(VICTIMS))
        world.ledger.note(world.pacha.finish(process))
        assert half_done(old, new, facts_of_targets(world)) == []
        world.recovers(*next_commands[number % len(next_commands)])
        world.recovers("rollback", world.tree, "--to", target, "-y")
        assert facts(world.tree) == new
        states.reverse()
        (target, new), (_, old) = states
    assert struck > kills // 3, "too few kills met a running command"
    world.ledger.check(world.pacha, memory / "copy")


def facts_of_targets(world: World) -> dict[str, tuple[object, ...]]:
    """Facts of the tree but for Pacha's temporary files, which may lie about until the next command."""
    return {
        path: entry for path, entry in facts(world.tree).items() if not Path(path).name.startswith(".pacha.")
    }
