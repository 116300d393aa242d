"""kill -9 of the agent, its worker and its Mercurial while a storm rages: it heals by itself, and nothing is lost."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests import needs
from tests.agent.churn import storm
from tests.agent.elsewhere import differences
from tests.agent.processes import family, is_gone
from tests.agents import Agent, running, start, until
from tests.command import Pacha
from tests.faults.shares import shares
from tests.faults.world import build
from tests.plainhg import StoreCopy
from tests.steps import revisions, watch_first

pytestmark = [pytest.mark.fault, needs.root, needs.tools]

HEALED = 10.0
AGENT, WORKER, MERCURIAL = "agent", "worker", "mercurial"
VICTIMS = (AGENT, WORKER, MERCURIAL)
STATE = {
    "store", "lock", "live.lock", "agent.lock", "index.sqlite", "index.sqlite-wal", "index.sqlite-shm", "journal", "change.json",
}  # fmt: skip


@pytest.fixture
def live(arena: Path, pacha: Pacha) -> Path:
    tree = arena / "live"
    build(tree)
    watch_first(pacha, tree)
    return tree


def process_of(agent: Agent, victim: str) -> int:
    """The process of that part, 0 where it does not run."""
    if victim == AGENT:
        return agent.pid
    workers, others = family(agent.pid)
    return next(iter(workers if victim == WORKER else others), 0)


def strike(agent: Agent, victim: str, choice: random.Random) -> float:
    """Kill that part at some instant, if it comes up within two seconds; when that was, or 0."""
    time.sleep(choice.uniform(0, 0.6))
    deadline = time.monotonic() + 2
    while not (pid := process_of(agent, victim)):
        if time.monotonic() > deadline:
            return 0.0
    time.sleep(choice.uniform(0, 0.2))
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return time.monotonic()


def acknowledged(agent: Agent) -> set[str]:
    """Every revision that the agent has told of, or `log` has."""
    told = set(re.findall(r"^pacha: ([0-9a-f]{12}) ", agent.said(), re.MULTILINE))
    return told | {revision["id"] for revision in revisions(agent.pacha)}


def is_whole(agent: Agent) -> bool:
    """Whether it runs, has nothing left to do, and no complaint."""
    told = agent.pacha.ok("status")
    found = told["agent"]
    return bool(found["running"] and not told["pending"] and not found["queue"] and not found["problem"])


def leftovers(pacha: Pacha, live: Path) -> list[Path]:
    """Whatever lies about that is nobody's."""
    strange = [path for path in pacha.state.iterdir() if path.name not in STATE]
    journal = pacha.state / "journal"
    return (
        strange
        + [path for path in live.rglob("*") if path.name.startswith(".pacha.")]
        + (list(journal.iterdir()) if journal.is_dir() else [])
        + list((pacha.store / ".hg" / "store").glob("journal*"))
    )


VERIFIED_EVERY = 4


@pytest.mark.parametrize("kills", shares(8, 200))
def test_kills_in_a_storm(pacha: Pacha, live: Path, tmp_path: Path, kills: int) -> None:
    choice = random.Random(kills)
    agent = start(pacha)
    struck = dict.fromkeys(VICTIMS, 0)
    slowest = 0.0
    known: set[str] = set()
    try:
        for number in range(kills):
            victim = VICTIMS[number % len(VICTIMS)]
            with storm(live, 0.8, processes=2, seed=number, pause=0.004):
                moment = strike(agent, victim, choice)
                if victim == AGENT:
                    agent.process.wait(20)
                    assert pacha.ok("status")["agent"]["running"] is False
                    agent = start(pacha, ready=False)
            quiet = time.monotonic()
            struck[victim] += moment > 0
            until(partial(is_whole, agent), 60)
            slowest = max(slowest, time.monotonic() - quiet)
            assert agent.process.poll() is None, f"killing the {victim} ended the agent: {agent.said()}"
            known |= acknowledged(agent)
            copy = StoreCopy(pacha.store, tmp_path / "copy")
            # To verify the whole takes ever longer, as the history grows.
            assert number % VERIFIED_EVERY or copy.complaints() == []
            nodes = {node[:12] for node in copy.nodes()}
            assert known <= nodes, f"lost: {known - nodes}"
            assert leftovers(pacha, live) == []
        print(f"\nkilled: {struck}; whole again after at most {slowest:.1f} s; {len(known)} revisions")
        assert slowest < HEALED
        assert min(struck.values()) >= kills // len(VICTIMS) * 2 // 3, struck
        assert differences(pacha, live, tmp_path / "elsewhere") == []
        assert pacha.run("verify").code == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(agent.pid, signal.SIGKILL)
        agent.process.wait()


def wait_for(look: Callable[[], int]) -> int:
    """A process as soon as it is there."""
    return until(look, 10)


@pytest.mark.parametrize("victim", [WORKER, MERCURIAL])
def test_one_that_was_killed_while_idle_is_not_missed(pacha: Pacha, live: Path, victim: str) -> None:
    with running(pacha) as agent:
        (live / "d0" / "file0.conf").write_text("one\n")
        until(lambda: len(revisions(pacha)) == 2)
        pid = wait_for(lambda: process_of(agent, victim))
        os.kill(pid, signal.SIGKILL)
        until(lambda: is_gone(pid))
        (live / "d0" / "file0.conf").write_text("two\n")
        until(lambda: len(revisions(pacha)) == 3, HEALED)
        until(lambda: is_whole(agent), HEALED)


def test_a_worker_that_dies_before_it_reads_a_request(pacha: Pacha, live: Path) -> None:
    """What it has not read makes the other end's next read fail, instead of ending."""
    with running(pacha) as agent:
        (live / "d0" / "file0.conf").write_text("one\n")
        until(lambda: len(revisions(pacha)) == 2)
        worker = wait_for(lambda: process_of(agent, WORKER))
        os.kill(worker, signal.SIGSTOP)
        (live / "d0" / "file0.conf").write_text("two\n")
        time.sleep(0.5)
        os.kill(worker, signal.SIGKILL)
        until(lambda: len(revisions(pacha)) == 3, HEALED)
        assert agent.process.poll() is None, agent.said()


def test_a_stopped_mercurial_holds_up_nothing_but_captures(pacha: Pacha, live: Path) -> None:
    with running(pacha) as agent:
        (live / "d0" / "file0.conf").write_text("one\n")
        until(lambda: len(revisions(pacha)) == 2)
        other = wait_for(lambda: process_of(agent, MERCURIAL))
        os.kill(other, signal.SIGSTOP)
        (live / "d0" / "file0.conf").write_text("two\n")
        time.sleep(0.5)
        assert agent.told()["queue"] >= 1
        os.kill(other, signal.SIGKILL)
        until(lambda: len(revisions(pacha)) == 3, HEALED)
