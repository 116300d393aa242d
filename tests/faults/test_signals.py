"""SIGINT, SIGTERM and SIGHUP at random instants: one object on standard output, and an exit code that agrees."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.command import Pacha, Result
from tests.faults.shares import shares
from tests.faults.world import World

pytestmark = pytest.mark.fault

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Until Python has come to Pacha's first line a signal is the kernel's or Python's business.
START_UP = 0.06


def strike(pacha: Pacha, choice: random.Random, span: float, *args: str | Path) -> Result:
    """Run a command and send it a signal, more often late than early and sometimes twice; how it ended."""
    process = pacha.start(*args, "--json")
    early = START_UP if choice.random() < 0.4 else max(START_UP, span * 0.7)
    time.sleep(choice.uniform(early, max(early, span * 1.2)))
    process.send_signal(choice.choice(SIGNALS))
    if choice.random() < 0.3:
        time.sleep(choice.uniform(0, 0.05))
        process.send_signal(choice.choice(SIGNALS))
    return pacha.finish(process)


def seconds(world: World, *args: str | Path) -> float:
    """How long a command takes at this time on this machine."""
    world.change()
    began = time.monotonic()
    world.pacha.ok(*args)
    return time.monotonic() - began


def wrong(result: Result) -> list[str]:
    """What is wrong with how a command ended that a signal met somewhere."""
    said = result.out.splitlines()
    if result.code < 0 and not said:  # it met Python before it met Pacha
        return []
    if len(said) != 1:
        return [f"{len(said)} lines"]
    told = json.loads(said[0])
    faults = [] if "Traceback" not in result.err else ["a traceback"]
    if "error" in told and (told["error"]["kind"] != "interrupted" or result.code not in (129, 130, 143)):
        faults.append("another error")
    if "error" not in told and result.code != 0:
        faults.append("a result, and an exit code that denies it")
    return faults


@pytest.mark.parametrize("signals", shares(24, 600))
def test_one_object_whenever_the_signal_comes(tmp_path: Path, signals: int) -> None:
    world = World.at(tmp_path / "world", seed=signals)
    first = world.ledger.revisions()[0]
    another = tmp_path / "world" / "another"
    another.mkdir()
    kinds: list[tuple[str | Path, ...]] = [
        ("capture",),
        ("rollback", world.tree, "--to", first, "-y"),
        ("watch", another),
    ]
    spans = {args: seconds(world, *args) for args in kinds}
    world.pacha.run("unwatch", another)
    ends = Counter[str]()
    for number in range(signals):
        world.change()
        args = kinds[number % len(kinds)]
        result = strike(world.pacha, world.random, spans[args], *args)
        assert wrong(result) == [], result
        spans[args] *= 1.2 if result.code else 0.8  # so that the signals come about the end
        ends["no word" if result.code < 0 else "interrupted" if result.code else "done"] += 1
        if "watch" in args:
            world.pacha.run("unwatch", another)
    world.capture()
    status = world.pacha.ok("status")
    assert {item["path"] for item in status["pending"]} <= {item["path"] for item in status["paced"]}
    world.ledger.check(world.pacha, tmp_path / "copy")
    print(f"{signals} signals: {ends}")
    assert min(ends["interrupted"], ends["done"]) * 12 > signals, "the signals came at the wrong time"
    assert ends["no word"] * 8 < signals
