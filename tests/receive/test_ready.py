"""The receiver that stays ready: the next push is run by a fork of it, and nobody can tell but by the clock."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pacha.adapters.runtime import socket_path
from tests import ready
from tests.agents import until
from tests.receive.parcels import Answer, Target, file, stream

WHO = b'cut -d" " -f4 /proc/$PPID/stat\n'  # the parent of the receiver


def pushed(host: Target, version: int, hook: bytes = WHO, **more: object) -> Answer:
    """A push of one file and one hook."""
    return host.receive(stream([file("/etc/a", b"%d\n" % version)], hooks={"post-push/1": hook}), **more)


def output(answer: Answer) -> str:
    """What its hook said."""
    (ran,) = answer.done["hooks"]
    return str(ran["output"]).strip()


@pytest.fixture
def host(tmp_path: Path) -> Target:
    """A host that was pushed to, whose receiver is ready."""
    made = Target(tmp_path)
    assert pushed(made, 0).code == 0
    ready.first(tmp_path)
    return made


def test_the_next_push_is_run_by_a_fork(host: Target, tmp_path: Path) -> None:
    receiver = ready.first(tmp_path)
    for version in (1, 2):
        answer = pushed(host, version)
        assert (answer.code, answer.err, output(answer)) == (0, "", str(receiver))
        assert host.read("/etc/a") == b"%d\n" % version
        assert answer.phases == ["verify", "plan", "live", "post-push"]
    until(lambda: not host.journals)
    messages = [revision["cause"] for revision in host.pacha.ok("log")["revisions"]]
    assert messages.count("push") == 3


def test_it_is_as_if_the_caller_had_run_it(host: Target, tmp_path: Path) -> None:
    told = b'echo "$MARK $(umask) $(pwd -P) $(readlink /proc/$PPID/cwd)"\n'
    (tmp_path / "here").mkdir()
    by_fork, by_itself = (
        output(
            pushed(host, version, told, env={"MARK": "of the caller"}, cwd=tmp_path / "here", before=before)
        )
        for version, before in (
            (1, ("sh", "-c", 'umask 027; exec "$@"', "sh")),
            (2, ("sh", "-c", 'umask 027; unshare -m "$@"', "sh")),
        )
    )
    assert by_fork == by_itself
    assert by_fork.startswith("of the caller")
    assert str(tmp_path / "here") in by_fork


def test_refusals_and_exit_codes_come_through(host: Target) -> None:
    answer = host.receive(b"no parcel\n")
    assert (answer.code, answer.done["error"]["kind"]) == (1, "refused")
    host.put("/etc/a", b"by hand\n")
    answer = pushed(host, 1)
    assert (answer.code, answer.done["error"]["kind"]) == (1, "changed")
    assert host.read("/etc/a") == b"by hand\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_are_passed_on(host: Target, number: signal.Signals) -> None:
    process = host.until_live("/etc/a", b"new\n", b"sleep 30\n")
    process.send_signal(number)
    assert process.wait(20) in (130, 128 + number)
    assert host.read("/etc/a") == b"0\n"


@pytest.mark.parametrize("victim", ["caller", "worker"])
def test_who_kills_one_kills_both(host: Target, tmp_path: Path, victim: str) -> None:
    receiver = ready.first(tmp_path)
    until(lambda: ready.receivers(tmp_path) == [receiver])  # what was pushed before is recorded
    process = host.until_live("/etc/a", b"new\n", b"sleep 5\n")
    worker = ready.worker(tmp_path)
    os.kill(process.pid if victim == "caller" else worker, signal.SIGKILL)
    assert process.wait(5) == -signal.SIGKILL
    until(lambda: not ready.workers(tmp_path), 5)
    assert "everything was put back" in host.pacha.run("status").err
    assert host.read("/etc/a") == b"0\n"
    assert output(pushed(host, 1)) == str(receiver)


def test_killed_itself_it_is_replaced(host: Target, tmp_path: Path) -> None:
    old = ready.first(tmp_path)
    os.kill(old, signal.SIGKILL)
    until(lambda: not ready.receivers(tmp_path))
    assert output(pushed(host, 1)) != str(old)
    new = ready.first(tmp_path)
    assert output(pushed(host, 2)) == str(new)


def test_one_that_does_not_answer_keeps_nobody_waiting_for_long(host: Target, tmp_path: Path) -> None:
    stuck = ready.first(tmp_path)
    os.kill(stuck, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert pushed(host, 1).code == 0
        assert time.monotonic() - began < 10
    finally:
        os.kill(stuck, signal.SIGCONT)
    assert host.read("/etc/a") == b"1\n"
    assert output(pushed(host, 2)) == str(stuck)


def test_an_environment_too_large_to_hand_over_is_no_hindrance(host: Target) -> None:
    environment = {f"LARGE{number}": "x" * 100_000 for number in range(10)}
    assert pushed(host, 1, b'echo "${#LARGE9}"\n', env=environment).done["hooks"][0]["output"] == "100000\n"


def test_after_its_time_it_ends_and_leaves_nothing(tmp_path: Path) -> None:
    host = Target(tmp_path, '[push]\nready = "2s"\n')
    pushed(host, 0)
    ready.first(tmp_path)
    place = socket_path(str(host.pacha.state), "receive")
    assert os.path.exists(place)
    until(lambda: not ready.receivers(tmp_path))
    assert not os.path.exists(place)


def test_where_none_shall_stay_none_does(tmp_path: Path) -> None:
    host = Target(tmp_path, '[push]\nready = "0s"\n')
    pushed(host, 0)
    until(lambda: not host.journals)
    assert ready.receivers(tmp_path) == []
    assert not os.path.exists(socket_path(str(host.pacha.state), "receive"))


def test_a_dry_run_and_a_failure_leave_none(tmp_path: Path) -> None:
    from pacha.core.parcel import Wishes

    host = Target(tmp_path)
    assert host.receive(stream([file("/etc/a", b"a\n")], wishes=Wishes("anna@hub", dry_run=True))).code == 0
    assert host.receive(b"no parcel\n").code == 1
    assert ready.receivers(tmp_path) == []


def test_nobody_else_is_served(host: Target) -> None:
    place = Path(socket_path(str(host.pacha.state), "receive"))
    assert stat.S_ISSOCK(place.stat().st_mode)
    assert (place.stat().st_mode & 0o077, place.parent.stat().st_mode & 0o077) == (0, 0)


IMPORTS = """
import importlib, os, sys
sys.argv[0] = "pacha"
from pacha.cli import ready
for name in ("pacha.adapters.fork_server", "pacha.cli.main", "pacha.cli.receive", *ready.MODULES):
    importlib.import_module(name)
known = set(sys.modules)
from pacha.cli.main import main
code = main(["receive"])
print(*sorted(set(sys.modules) - known), file=sys.stderr)
sys.exit(code)
"""


def test_it_has_imported_all_that_a_push_needs(tmp_path: Path) -> None:
    host = Target(tmp_path, '[push]\nready = "0s"\n')
    hooks = {"pre-push/1": b"true\n", "check/1": b"true\n", "post-push/1": b"true\n"}
    for content in (b"a\n", b"b\n"):
        done = subprocess.run(
            [sys.executable, "-c", IMPORTS],
            input=stream([file("/etc/a", content)], hooks=hooks),
            env=host.pacha.environment(), capture_output=True, check=True,
        )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1])["steps"][0]["action"] == "replace"
    assert [name for name in done.stderr.decode().split() if name.startswith("pacha.")] == []


CHANGING = """
import os, sys, threading
sys.path.insert(0, ".")
import part
from pacha.adapters.fork_server import ForkServer
from pacha.adapters.handover import hand_over
place = os.path.abspath("socket")
server = ForkServer(place, lambda words: 7)
if os.fork() == 0:
    first = hand_over(place, [b"a"])
    os.utime("part.py", (1, 1))
    print(first, hand_over(place, [b"a"]), os.path.exists(place))
    sys.stdout.flush()
    os._exit(0)
server.serve(60)
"""


def test_one_that_was_made_of_other_files_serves_no_more(tmp_path: Path) -> None:
    (tmp_path / "part.py").touch()
    done = subprocess.run(
        [sys.executable, "-c", CHANGING], cwd=tmp_path, capture_output=True, check=True, timeout=30, text=True
    )
    assert done.stdout == "7 None False\n"
