"""SIGINT, SIGTERM and SIGHUP at random instants: one object on standard output, and an exit code that agrees."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import Pacha, Result
from tests.faults.shares import shares
from tests.faults.world import World, mean_seconds

pytestmark = pytest.mark.fault

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Until Python has come to Pacha's first line a signal is the kernel's or Python's business.
START_UP = 0.06


def strike(pacha: Pacha, choice: random.Random, span: float, *args: str | Path) -> tuple[Result, signal.Signals]:
    """Run a command and send it a signal, often late and sometimes twice; how it ended."""
    sent = choice.choice(SIGNALS)
    process = pacha.start(*args, "--json")
    after = choice.uniform(START_UP, span * 1.2) if choice.random() < 0.4 else choice.uniform(span * 0.6, span * 1.1)
    time.sleep(after)
    process.send_signal(sent)
    if choice.random() < 0.3:
        time.sleep(choice.uniform(0, 0.05))
        process.send_signal(choice.choice(SIGNALS))
    return pacha.finish(process), sent


def wrong(result: Result, sent: signal.Signals) -> list[str]:
    """What is wrong with how a command ended that a signal met somewhere."""
    said = result.out.splitlines()
    if result.code == -sent:  # it met Python before it met Pacha
        return [] if not said else ["an object and a death"]
    if len(said) != 1:
        return [f"{len(said)} lines"]
    told = json.loads(said[0])
    faults = [] if "Traceback" not in result.err else ["a traceback"]
    if "error" in told and (told["error"]["kind"] != "interrupted" or result.code not in (130, 143, 129)):
        faults.append("another error")
    if "error" not in told and result.code not in (0, 3):
        faults.append("a result, and an exit code that denies it")
    return faults


def check(pacha: Pacha, choice: random.Random, span: float, args: Callable[[], tuple[str | Path, ...]]) -> bool:
    """One round; whether the signal met the command before its outcome stood."""
    result, sent = strike(pacha, choice, span, *args())
    assert wrong(result, sent) == [], (sent, result)
    return result.code != 0


@pytest.mark.parametrize("signals", shares(45, 600))
def test_one_object_whenever_the_signal_comes(tmp_path: Path, signals: int) -> None:
    world = World.at(tmp_path / "world", seed=signals)
    first = world.ledger.revisions()[0]
    more = [tmp_path / "world" / f"more{number}" for number in range(2)]
    for path in more:
        path.mkdir()
        (path / "file").write_text("x\n")
    span = mean_seconds(world.pacha, "capture", "-m", "x")
    met = 0

    def next_watch() -> tuple[str | Path, ...]:
        more.reverse()
        return "watch", more[0]

    def next_capture() -> tuple[str | Path, ...]:
        return ("capture",)

    def next_rollback() -> tuple[str | Path, ...]:
        return "rollback", world.tree, "--to", first, "-y"

    kinds = ((next_capture, span), (next_rollback, span * 1.5), (next_watch, span))
    for number in range(signals):
        world.change()
        args, length = kinds[number % len(kinds)]
        met += check(world.pacha, world.random, length, args)
        if args is next_watch:
            world.pacha.run("unwatch", more[0])
    world.capture()
    assert world.pacha.ok("status")["pending"] == []
    world.ledger.check(world.pacha, tmp_path / "copy")
    assert signals // 6 < met < signals, "the signals came at the wrong time"
    print(f"{signals} signals: {met} met a command before its outcome stood")
