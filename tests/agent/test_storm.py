"""Eight processes rage below a watch: whatever came of it is captured, and nothing grows without bound."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from pacha.adapters.control import ask
from pacha.adapters.runtime import socket_path
from tests import needs
from tests.agent.churn import storm
from tests.agent.elsewhere import differences
from tests.agent.processes import Memory, family, megabytes
from tests.agents import Agent, running, stored, until
from tests.command import Pacha
from tests.faults.world import build
from tests.steps import watch_first

SILENCE = 60.0
# To store 100,000 files takes about a minute of its own, on a slow disk two.
LONG_SILENCE = 180.0
QUEUE = 16_384  # fs.fanotify.max_queued_events, and inotify's
STORMS = [
    pytest.param(6, 1_500, SILENCE, id="ci"),
    pytest.param(60, 100_000, LONG_SILENCE, id="soak", marks=[pytest.mark.soak]),
]


def is_quiet(agent: Agent) -> bool:
    """Whether the agent has nothing left to do, and `status` says so, too.

    It is asked first, as `status` would look at everything itself while the agent does.
    """
    told = ask(socket_path(str(agent.pacha.state)), {"ask": "status"}, 20)
    if told is None or not told["running"] or told["queue"]:
        time.sleep(0.2)
        return False
    return not agent.pacha.ok("status")["pending"]


@pytest.mark.parametrize(("seconds", "files", "patience"), STORMS)
@needs.root
@needs.tools
def test_after_a_storm_the_store_is_what_the_tree_is(
    pacha: Pacha, arena: Path, tmp_path: Path, seconds: int, files: int, patience: float
) -> None:
    live = arena / "live"
    build(live)
    watch_first(pacha, live)
    with running(pacha) as agent:
        before = megabytes(agent.pid)
        with Memory(agent.pid) as memory:
            with storm(live, seconds, files=files):
                pass
            silence = time.monotonic()
            until(lambda: is_quiet(agent), patience)
            settled = time.monotonic() - silence
        told = agent.told()
        count = sum(len(names) for _, _, names in os.walk(live))
        print(
            f"\nstorm: {count} files, {told['events']} events, {told['overflows']} overflows, {told['revisions']} revisions;"
            f" quiet after {settled:.1f} s; agent {before:.1f}, at most {memory.agent:.1f} MB,"
            f" children at most {memory.children:.1f} MB ({memory.samples} samples)"
        )
        assert pacha.run("verify").code == 0
        assert differences(pacha, live, tmp_path / "elsewhere") == []
        assert memory.samples > seconds
        assert memory.agent < 60
        assert memory.children < 400
        assert told["problem"] is None
        if seconds > 30:
            time.sleep(35)
            assert family(agent.pid) == ([], [])
            assert megabytes(agent.pid) < 60


@needs.root
@needs.tools
def test_events_that_the_kernel_lost_are_made_up_for(pacha: Pacha, arena: Path, tmp_path: Path) -> None:
    live = arena / "live"
    build(live)
    watch_first(pacha, live)
    with running(pacha) as agent:
        agent.signal(signal.SIGSTOP)
        try:
            for number in range(QUEUE + 3_000):
                path = live / f"lost{number}"
                path.touch()
                if number % 10:
                    path.unlink()
            (live / "new" / "deep").mkdir(parents=True)
            (live / "new" / "deep" / "file").write_text("after the queue was full\n")
            (live / "d0" / "file0.conf").write_text("changed after the queue was full\n")
        finally:
            agent.signal(signal.SIGCONT)
        resumed = time.monotonic()
        until(lambda: is_quiet(agent) and agent.told()["overflows"], SILENCE)
        print(f"\noverflow: quiet after {time.monotonic() - resumed:.1f} s")
        assert differences(pacha, live, tmp_path / "elsewhere") == []
        # The directory that came meanwhile is heard, too.
        (live / "new" / "deep" / "later").write_text("later\n")
        until(lambda: stored(pacha, live / "new" / "deep" / "later") == "later\n")


def test_a_write_through_another_name_of_the_file(pacha: Pacha, arena: Path, tmp_path: Path) -> None:
    """The kernel tells of the name that was written to; the others lie in the watch as well."""
    live = arena / "live"
    for name in ("a", "b"):
        (live / name).mkdir(parents=True)
    (live / "a" / "one").write_text("old\n")
    os.link(live / "a" / "one", live / "b" / "two")
    watch_first(pacha, live)
    with running(pacha) as agent:
        (live / "b" / "two").write_text("new\n")
        until(lambda: stored(pacha, live / "b" / "two") == "new\n")
        until(lambda: stored(pacha, live / "a" / "one") == "new\n")
        (live / "a" / "one").unlink()
        until(lambda: is_quiet(agent))
        assert pacha.run("verify").code == 0
        assert differences(pacha, live, tmp_path / "elsewhere") == []
