"""The link is cut at any instant while an agent sends: it catches up by itself, and nothing is lost or doubled."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.agents import running, until
from tests.faults.shares import shares
from tests.server.cable import Cable, cable
from tests.server.clients import Sending
from tests.server.hub import Hub, hub

PATIENCE = 60.0
VERIFIED_EVERY = 5


def tear(link: Cable, server: Hub, chance: random.Random) -> None:
    """A TCP reset at both ends."""
    link.reset()


def hold(link: Cable, server: Hub, chance: random.Random) -> None:
    """Nothing goes through for a while; then the connections are gone."""
    link.freeze()
    time.sleep(chance.uniform(0.1, 0.5))
    link.reset()
    link.thaw()


def stop(link: Cable, server: Hub, chance: random.Random) -> None:
    """What receives is stopped for a while, and goes on."""
    stopped = server.registry.sessions("web1").pids()
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        time.sleep(chance.uniform(0.1, 0.5))


def kill(link: Cable, server: Hub, chance: random.Random) -> None:
    """sshd and all its sessions are killed, and sshd comes again."""
    server.sshd.stop(signal.SIGKILL)
    time.sleep(chance.uniform(0, 0.2))
    server.sshd.start()


CUTS: tuple[Callable[[Cable, Hub, random.Random], None], ...] = (tear, hold, stop, kill)


@pytest.mark.fault
@pytest.mark.parametrize("rounds", shares(4, 100))
def test_an_agent_whose_link_is_cut_catches_up_by_itself(tmp_path: Path, rounds: int) -> None:
    chance = random.Random(rounds)
    with hub(tmp_path) as server, cable(server.sshd.port) as link:
        host = Sending(server)
        words = host.pacha.config.read_text()
        host.pacha.config.write_text(words.replace("ssh -F ", f"ssh -p {link.port} -F "))
        host.sent("first\n")
        slowest = 0.0
        with running(host.pacha) as agent:
            for number in range(rounds):
                # Each file is changed too seldom to count as restless.
                host.change(f"{number}\n" * chance.randrange(1, 50_000), f"file{number // 15}")
                time.sleep(chance.uniform(0.05, 0.6))
                CUTS[number % len(CUTS)](link, server, chance)
                cut = time.monotonic()
                until(partial(host.arrived, number + 2), PATIENCE)
                slowest = max(slowest, time.monotonic() - cut)
                if number % VERIFIED_EVERY == 0:
                    assert host.complaints() == []
                assert agent.process.poll() is None, agent.said()
            until(lambda: host.server["backlog"] == 0 and host.server["error"] is None, PATIENCE)
        print(f"\n{rounds} cuts: there again after {slowest:.1f} s at most")
        assert host.here() == host.there()
        assert host.complaints() == []
