"""The receiver killed at any instant: after the next command everything is as it was, or everything is new."""

from __future__ import annotations

import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from pacha.core.parcel import Item
from tests import needs, ready
from tests.agents import running, until
from tests.faults.kill import strike, wait_until
from tests.faults.shares import shares
from tests.oracle import compare, save_twin
from tests.receive.parcels import Target, file, stream

NUMBER = 24


def parcel(version: int) -> bytes:
    """Every file another, one that comes and goes, a directory's mode; slowed down a little by hooks."""
    files = [
        file(f"/etc/app/{n}", b"%d of %d\n" % (n, version) * 200, 0o640 + version % 2) for n in range(NUMBER)
    ]
    come, go = f"/srv/{version % 2}/x", f"/srv/{(version + 1) % 2}/x"
    items = [Item(b"/etc/app/on", b"symlink", 0o777, target=b"%d" % version)]
    hooks = {"post-push/1": b"sleep 0.02\n", "check/1": b"true\n"}
    return stream([*files, file(come, b"x")], items=items, absent=(go.encode(),), hooks=hooks)


def kill_at_random(host: Target, version: int, choice: random.Random, span: float) -> None:
    process = host.begin(parcel(version))
    assert process.stdout and process.stderr
    if choice.random() < 0.6:
        seen = len(host.journals)
        wait_until(lambda: len(host.journals) > seen, process)  # type: ignore[arg-type]
        time.sleep(choice.uniform(0, span / 3))
    else:
        time.sleep(choice.uniform(0, span))
    victims = [process.pid, *ready.workers(host.place)]
    strike(choice.choice(victims))
    process.wait()
    process.stdout.close()
    process.stderr.close()


@needs.tools
@pytest.mark.parametrize("count", shares(8, 100))
def test_all_old_or_all_new_after_the_next_command(tmp_path: Path, count: int) -> None:
    host, choice = Target(tmp_path), random.Random(count)
    began = time.monotonic()
    assert host.receive(parcel(0)).code == 0
    span = time.monotonic() - began
    twins = {0: tmp_path / "twin0"}
    save_twin(host.root, twins[0])
    outcomes = []
    for version in range(1, count + 1):
        kill_at_random(host, version, choice, span)
        # Any command does: one that looks, or the next push.
        if version % 2:
            until(lambda: host.pacha.run("status").code == 0 and not host.journals)
        else:
            host.receive(stream(name="other"))
        is_new = host.read("/etc/app/0").startswith(b"0 of %d\n" % version)
        outcomes.append(is_new)
        if not is_new:
            assert compare(twins[0], host.root) == []
        answer = host.receive(parcel(version))
        assert answer.code == 0, answer
        if is_new:
            assert answer.steps == {}
        shutil.rmtree(twins[0])
        save_twin(host.root, twins[0])
        assert not list(host.root.rglob(".pacha.*"))
    assert host.pacha.ok("verify")["ok"]
    assert host.pacha.ok("log")["revisions"][0]["message"] == "push of web"


def pushed_to(place: Path) -> tuple[Target, Path]:
    """A host with a push in its history, and a copy of what it has."""
    host, twin = Target(place), place / "twin"
    host.receive(parcel(0))
    host.settle()
    save_twin(host.root, twin)
    return host, twin


@needs.tools
def test_an_undo_that_is_killed_is_finished_by_the_next_command(tmp_path: Path) -> None:
    host, twin = pushed_to(tmp_path)
    for delay in (0.0, 0.002, 0.005, 0.01):
        files = [file(f"/etc/app/{n}", b"other\n" * 200) for n in range(NUMBER)]
        process = host.begin(stream(files, hooks={"post-push/1": b"exit 1\n"}))
        assert process.stdout
        for line in process.stdout:
            if line == b'{"phase": "undo"}\n':
                break
        time.sleep(delay)
        process.kill()
        process.stdout.read()
        process.wait()
        assert host.pacha.run("log").code == 0
        assert compare(twin, host.root) == []
        assert host.journals == []


@needs.tools
def test_a_hook_that_kills_the_receiver_keeps_nothing_from_being_put_back(tmp_path: Path) -> None:
    host, twin = pushed_to(tmp_path)
    files = [file(f"/etc/app/{n}", b"other\n") for n in range(NUMBER)]
    process = host.start()
    process.communicate(stream(files, hooks={"post-push/1": b"kill -9 $PPID\n"}))
    assert process.returncode == -signal.SIGKILL
    assert host.read("/etc/app/0") == b"other\n"
    assert "everything was put back" in host.pacha.run("status").err
    assert compare(twin, host.root) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_undoes_what_is_not_done(tmp_path: Path, number: signal.Signals) -> None:
    host = Target(tmp_path)
    host.put("/etc/a", b"old\n")
    process = host.until_live("/etc/a", b"new\n", b"sleep 30\n")
    process.send_signal(number)
    assert process.wait(20) in (130, 128 + number)
    assert host.read("/etc/a") == b"old\n"
    assert host.journals == []


def test_the_agent_records_a_push_under_the_pushers_name(tmp_path: Path) -> None:
    host = Target(tmp_path)
    host.put("/etc/a", b"old\n")
    host.pacha.ok("watch", "/etc")
    with running(host.pacha) as agent:
        assert host.receive(stream([file("/etc/a", b"new\n")], revision="7")).code == 0
        newest = agent.newest("/etc/a")
    assert (newest["author"], newest["message"], newest["cause"]) == ("anna@hub", "push of web 7", "push")
