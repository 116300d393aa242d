"""A running agent of a test's own: started, waited for, asked, stopped, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.command import Pacha
from tests.plainhg import StoreCopy
from tests.steps import revisions

PATIENCE = 20.0
T = TypeVar("T")


def until(look: Callable[[], T], seconds: float = PATIENCE) -> T:
    """What `look` returns as soon as it is true; AssertionError with the last value where it never is."""
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        if found := look():
            return found
        ended = time.monotonic()
        assert ended < deadline, f"not within {seconds:g} s: {found!r}"
        # Looks that start processes would keep the CPU from what they wait for.
        time.sleep(min(max(ended - began, 0.02), 0.3))


def stored(pacha: Pacha, path: str | Path) -> str | None:
    """A file as the last revision has it, by plain Mercurial; None where it has none, or amidst a commit.

    A tenth of what it takes to ask Pacha. The path must be such as the store keeps as it is.
    """
    with suppress(AssertionError, subprocess.CalledProcessError):
        return (
            StoreCopy(pacha.store, pacha.home / "copy").hg("cat", "-r", "tip", f"path:files{path}").decode()
        )
    return None


def is_stored(pacha: Pacha, path: Path) -> bool:
    """Whether the last revision has a file as it is now."""
    return stored(pacha, path) == path.read_text()


@dataclass
class Agent:
    """One running agent; `log` is the file that it writes its messages to."""

    pacha: Pacha
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    def told(self) -> dict[str, Any]:
        """What `status` says of it."""
        agent: dict[str, Any] = self.pacha.ok("status")["agent"]
        return agent

    def said(self) -> str:
        """Everything it has said so far."""
        return self.log.read_text(errors="surrogateescape")

    def settle(self) -> None:
        """Wait until nothing is pending or in the queue."""
        until(lambda: not (found := self.pacha.ok("status"))["pending"] and found["agent"]["queue"] == 0)

    def newest(self, path: str | Path, seconds: float = PATIENCE) -> dict[str, Any]:
        """The newest revision once there is one that touches `path` and nothing is waiting."""
        until(lambda: revisions(self.pacha, path), seconds)
        self.settle()
        return revisions(self.pacha, path)[0]

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def stop(self) -> int:
        """End it in order; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def start(pacha: Pacha, *, ready: bool = True, before: tuple[str, ...] = (), **extra: str) -> Agent:
    """Start an agent, and wait until it says that it runs."""
    log = pacha.home / "agent.log"
    with open(log, "ab") as out:
        process = subprocess.Popen(
            [*before, *pacha.argv("agent")],
            env={**pacha.environment(), **extra},
            cwd=pacha.home,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            **({"user": pacha.user, "group": pacha.user, "extra_groups": []} if pacha.user else {}),  # type: ignore[arg-type]
        )
    agent = Agent(pacha, process, log)
    if ready:
        until(lambda: process.poll() is not None or agent.told()["running"], 60)
        assert process.poll() is None, agent.said()
    return agent


@contextmanager
def running(pacha: Pacha, **extra: str) -> Iterator[Agent]:
    """An agent that is ended with the block, whatever happens."""
    agent = start(pacha, **extra)
    try:
        yield agent
    finally:
        if agent.process.poll() is None:
            agent.process.terminate()
            try:
                agent.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(agent.pid, signal.SIGKILL)
                agent.process.wait()
