"""An idle agent costs next to nothing: no wake-ups, little memory, no children, and few modules."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.agent.processes import family, mapped, megabytes, wakeups
from tests.agents import Agent, start, until
from tests.command import Pacha
from tests.oracle.twin import wipe
from tests.steps import watch_first

FILES, MORE_FILES = 2_000, 10_000
PER_FOLDER = 20
WORKER_IDLE = 30  # seconds until the worker goes
UNWANTED = {"asyncio", "hashlib", "ssl", "rich", "subprocess", "logging", "sqlite3", "mercurial", "tomlkit"}
EXTENSIONS = ("_hashlib", "_ssl", "_sqlite3", "_asyncio", "libssl", "libcrypto", "libsqlite3", "mercurial/")
# What others mount would wake it up.
ALONE = ("unshare", "--mount", "--propagation", "private")

# Lies in the way of every Python that the test starts: at SIGUSR1 it writes down which modules are loaded.
TELLTALE = """
import os, signal, sys

def tell(number, frame):
    place = os.environ["TOLD_MODULES"] + "/" + str(os.getpid())
    with open(place + ".new", "w") as file:
        file.write("\\n".join(sorted(sys.modules)))
    os.rename(place + ".new", place)

signal.signal(signal.SIGUSR1, tell)
"""


def plant(tree: Path, count: int) -> None:
    """So many small files, twenty in a folder."""
    for number in range(count):
        folder = tree / f"d{number // PER_FOLDER}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file{number}.conf").write_text(f"key = {number}\n")


def modules(pid: int, told: Path) -> set[str]:
    """The modules that a process has loaded at this moment, by its own account."""
    (told / str(pid)).unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    until((told / str(pid)).exists)
    return set((told / str(pid)).read_text().split())


def unwanted(loaded: set[str]) -> set[str]:
    return {name.split(".")[0] for name in loaded} & UNWANTED


def extensions(pid: int) -> set[str]:
    return {name for name in EXTENSIONS if name in mapped(pid)}


def work(agent: Agent, file: Path) -> None:
    """Let the agent make a capture, and its worker come up."""
    file.write_text("changed\n")
    until(lambda: agent.pacha.run("cat", file).out == "changed\n")
    agent.settle()


@pytest.fixture
def still() -> Iterator[Path]:
    """A place where nobody else makes files: what comes and goes above a watch wakes the agent up."""
    place = Path(tempfile.mkdtemp(prefix="pacha-idle-", dir="/var/tmp"))
    yield place
    wipe(place)


@needs.root
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_an_idle_agent(tmp_path: Path, still: Path) -> None:
    """One wait for all that only shows when the worker has gone."""
    telltale = tmp_path / "telltale"
    told = tmp_path / "told"
    telltale.mkdir()
    told.mkdir()
    (telltale / "sitecustomize.py").write_text(TELLTALE)
    found = os.environ.get("PYTHONPATH")
    path = f"{telltale}:{found}" if found else str(telltale)
    agents = []
    try:
        for number, count in enumerate((FILES, FILES + MORE_FILES)):
            pacha = Pacha.at(still / f"pacha{number}")
            live = still / f"live{number}"
            plant(live, count)
            watch_first(pacha, live)
            agents.append(start(pacha, before=ALONE, PYTHONPATH=path, TOLD_MODULES=str(told)))
            work(agents[-1], live / "d0" / "file0.conf")
        small, large = agents
        (worker,), (other,) = family(small.pid)
        # Where it is to be found, it is found: so the same look at the agent means something.
        assert unwanted(modules(worker, told)) >= {"sqlite3", "subprocess"}
        assert extensions(worker) >= {"_sqlite3"}
        assert extensions(other) >= {"mercurial/"}
        busy = {agent.pid: megabytes(agent.pid) for agent in agents}
        stopped = time.monotonic()
        until(lambda: not any(family(agent.pid)[0] for agent in agents), WORKER_IDLE + 10)
        assert time.monotonic() - stopped > WORKER_IDLE - 10, "the worker went too early"
        assert not os.path.exists(f"/proc/{other}"), "Mercurial outlived its worker"
        time.sleep(14)  # until the agent has given memory back
        before = {agent.pid: wakeups(agent.pid) for agent in agents}
        time.sleep(10)
        assert {agent.pid: wakeups(agent.pid) for agent in agents} == before
        idle = {agent.pid: megabytes(agent.pid) for agent in agents}
        # Asked and signalled last, as that wakes it up.
        loaded = modules(small.pid, told)
        print(
            f"\nidle: {idle[small.pid]:.1f} MB with {FILES} files, {idle[large.pid]:.1f} MB with {MORE_FILES} more"
            f" (at work {busy[small.pid]:.1f} and {busy[large.pid]:.1f}); {len(loaded)} modules"
        )
        assert loaded >= {"pacha.agent.loop", "pacha.agent.worker", "pacha.adapters.events.fanotify"}
        assert unwanted(loaded) == set()
        assert extensions(small.pid) == set()
        assert idle[small.pid] <= 20
        assert idle[large.pid] <= idle[small.pid] + 1
        work(small, still / "live0" / "d1" / "file20.conf")
    finally:
        codes = [agent.stop() for agent in agents]
    assert codes == [0, 0]


def files_touched(pacha: Pacha, trace: Path) -> tuple[int, dict[str, Any]]:
    """How many system calls on files `status` makes, and what it says."""
    calls = "openat,openat2,open,newfstatat,statx,lstat,stat,readlinkat,getdents64,read,pread64"
    result = pacha.run(
        "status", "--json", before=("strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={calls}")
    )
    assert result.code == 0, result
    return len(trace.read_text().splitlines()), json.loads(result.out)


@needs.strace
def test_status_asks_the_agent_and_does_not_look(pacha: Pacha, arena: Path, tmp_path: Path) -> None:
    live = arena / "live"
    plant(live, FILES)
    watch_first(pacha, live)
    looking, told = files_touched(pacha, tmp_path / "trace")
    assert told["agent"]["running"] is False
    agent = start(pacha)
    try:
        work(agent, live / "d0" / "file0.conf")
        asking, told = files_touched(pacha, tmp_path / "trace")
        assert (told["agent"]["running"], told["entries"] > FILES, told["pending"]) == (True, True, [])
        print(f"\nstatus: {asking} calls with the agent, {looking} without")
        assert str(live) not in (tmp_path / "trace").read_text()
        assert looking > FILES
        assert asking < looking - FILES
    finally:
        assert agent.stop() == 0


def test_the_log_of_an_agent_is_quiet(pacha: Pacha, arena: Path) -> None:
    """A line for the start, one for each revision, one for the end."""
    live = arena / "live"
    plant(live, 20)
    watch_first(pacha, live)
    agent = start(pacha)
    work(agent, live / "d0" / "file0.conf")
    assert agent.stop() == 0
    lines = [line for line in agent.said().splitlines() if not re.match(r"pacha: [0-9a-f]{12} ", line)]
    assert len(lines) <= 2, lines
    assert subprocess.run(["grep", "-c", "Traceback", agent.log], capture_output=True).stdout == b"0\n"
