"""What an agent cannot do it tells, and does by itself as soon as it can: hooks that fail, full disks, limits."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import needs
from tests.agents import Agent, is_stored, running, start, until
from tests.command import Pacha
from tests.faults.loopfs import loop_fs
from tests.plainhg import StoreCopy
from tests.steps import pending, revisions, watch_first

ROOM = 300 << 10


def problem(agent: Agent) -> dict[str, str]:
    """What `status` says that the agent complains of, nothing where it does not."""
    found: dict[str, str] = agent.told()["problem"] or {}
    return found


# -- hooks ---------------------------------------------------------------------------------------------


@pytest.fixture
def gate(pacha: Pacha, live: Path, tmp_path: Path) -> Path:
    """A file that keeps its names from being captured: the hook refuses a change of what it lists."""
    listed = tmp_path / "refused"
    listed.write_text("nothing\n")
    hook = pacha.config.parent / "hooks" / "pre-capture" / "50-gate"
    hook.parent.mkdir(parents=True)
    hook.write_text(f"#!/bin/sh\n! grep -q -F -f '{listed}'\n")
    hook.chmod(0o755)
    watch_first(pacha, live)
    return listed


def test_a_hook_that_says_no(pacha: Pacha, live: Path, gate: Path) -> None:
    with running(pacha) as agent:
        gate.write_text("file\n")
        (live / "file").write_text("refused\n")
        found = until(lambda: problem(agent))
        assert found["kind"] == "hook"
        assert "pre-capture/50-gate" in found["message"]
        assert found["message"] in pacha.run("status").out
        assert pacha.run("status", "--check").code == 4
        assert "pre-capture/50-gate" in agent.said()
        assert len(revisions(pacha)) == 1
        gate.write_text("nothing\n")
        agent.signal(signal.SIGHUP)
        until(lambda: is_stored(pacha, live / "file"))
        until(lambda: not problem(agent))
        agent.settle()
        assert pacha.run("status", "--check").code == 0


def test_what_a_hook_refused_stays_pending(pacha: Pacha, live: Path, gate: Path) -> None:
    with running(pacha) as agent:
        gate.write_text("file\n")
        (live / "file").write_text("refused\n")
        until(lambda: problem(agent))
        assert pending(pacha) == [("modified", str(live / "file"))]


def test_a_refused_change_is_not_forgotten_over_another(pacha: Pacha, live: Path, gate: Path) -> None:
    with running(pacha) as agent:
        gate.write_text("file\n")
        (live / "file").write_text("refused\n")
        until(lambda: problem(agent))
        (live / "other").write_text("welcome\n")
        until(lambda: is_stored(pacha, live / "other"))
        until(lambda: str(live / "other") not in {path for _, path in pending(pacha)})
        assert pending(pacha) == [("modified", str(live / "file"))]
        assert pacha.run("status", "--check").code == 4


def test_a_refused_change_is_captured_with_the_next_of_the_same_file(
    pacha: Pacha, live: Path, gate: Path
) -> None:
    with running(pacha) as agent:
        gate.write_text("file\n")
        (live / "file").write_text("refused\n")
        until(lambda: problem(agent))
        gate.write_text("nothing\n")
        (live / "file").write_text("mended\n")
        until(lambda: is_stored(pacha, live / "file"))
        agent.settle()
        assert not problem(agent)


# -- disks ---------------------------------------------------------------------------------------------


@needs.loop
@pytest.mark.fault
@pytest.mark.parametrize("leave", [0, 40_960])
def test_a_full_state_disk(tmp_path: Path, live: Path, leave: int) -> None:
    with loop_fs(tmp_path, 32) as disk:
        pacha = Pacha.at(disk.at / "pacha")
        watch_first(pacha, live)
        with running(pacha) as agent:
            ballast = disk.fill(leave)
            for number in range(4):
                (live / f"large{number}").write_bytes(os.urandom(ROOM))
                time.sleep(0.3)
            until(lambda: "space" in pacha.run("status").out + pacha.run("status").err)
            assert "space" in agent.said()
            assert pacha.run("status", "--check").code in (1, 4)
            assert agent.process.poll() is None
            ballast.unlink()
            started = time.monotonic()
            until(lambda: not problem(agent) and not pending(pacha) and agent.told()["queue"] == 0, 60)
            print(f"\nfull disk: captured {time.monotonic() - started:.1f} s after there was space")
            for number in range(4):
                assert revisions(pacha, live / f"large{number}")
            assert pacha.run("verify").code == 0
        assert StoreCopy(pacha.store, tmp_path / "copy").complaints() == []


@needs.loop
@pytest.mark.fault
def test_status_works_on_a_full_disk(tmp_path: Path, live: Path) -> None:
    with loop_fs(tmp_path, 32) as disk:
        pacha = Pacha.at(disk.at / "pacha")
        watch_first(pacha, live)
        with running(pacha) as agent:
            disk.fill()
            for number in range(8):
                (live / f"large{number}").write_bytes(os.urandom(ROOM))
                until(lambda: "space" in agent.said())
                found = pacha.run("status", "--json")
                assert found.code == 0, found
                assert "space" in found.json["agent"]["problem"]["message"]
                assert found.json["pending"]
                time.sleep(0.2)


# -- limits --------------------------------------------------------------------------------------------

LIMIT = 40
FOLDERS = 60


@needs.root
@pytest.mark.parametrize("polled", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_where_the_kernel_marks_no_more(pacha: Pacha, arena: Path, polled: bool) -> None:
    """In a user namespace of its own, where the limit is nobody else's."""
    few, many = arena / "few", arena / "many"
    for tree, count in ((few, 2), (many, FOLDERS)):
        for number in range(count):
            (tree / f"d{number}").mkdir(parents=True)
            (tree / f"d{number}" / "file").write_text("one\n")
    watch_first(pacha, few)
    pacha.ok("watch", many)
    script = f'echo {LIMIT} > /proc/sys/user/max_inotify_watches && exec "$@"'
    before = ("unshare", "--user", "--map-root-user", "sh", "-c", script, "sh")
    if subprocess.run([*before, "true"], capture_output=True).returncode != 0:
        pytest.skip("no user namespaces here, or no limits of their own")
    agent = start(pacha, before=before)
    try:
        told = agent.told()
        assert told["mode"] == "inotify"
        (words,) = [words for words in told["degraded"] if str(many) in words]
        assert "inotify" in words
        assert "max_user_watches" in words or "max_inotify_watches" in words
        assert words in pacha.run("status").out
        assert words in agent.said()
        assert pacha.run("status", "--check").code == 4
        # What is marked is heard at once.
        (few / "d1" / "file").write_text("two\n")
        until(lambda: is_stored(pacha, few / "d1" / "file"))
        changed = [many / f"d{number}" / "file" for number in range(FOLDERS)]
        for path in changed:
            path.write_text("two\n")
        if polled:
            started = time.monotonic()
            until(lambda: all(is_stored(pacha, path) for path in changed[::7]), 75)
            print(f"\npolling: everything captured after {time.monotonic() - started:.0f} s")
            until(lambda: pacha.run("verify").code == 0)
        # No status says that nothing is to be done while there is.
        told = pacha.ok("status")
        missing = {str(path) for path in changed if not is_stored(pacha, path)}
        assert missing <= {item["path"] for item in told["pending"]} or not missing
        # With a higher limit everything is marked again.
        limit = ["nsenter", "--user", f"--target={agent.pid}", "sh", "-c"]
        subprocess.run([*limit, "echo 4000 > /proc/sys/user/max_inotify_watches"], check=True)
        agent.signal(signal.SIGHUP)
        until(lambda: not any("is polled" in words for words in agent.told()["degraded"]))
        (many / f"d{FOLDERS - 1}" / "file").write_text("three\n")
        until(lambda: is_stored(pacha, many / f"d{FOLDERS - 1}" / "file"))
    finally:
        assert agent.stop() == 0
