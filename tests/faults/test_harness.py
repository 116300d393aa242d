"""The instruments judged in turn, on a toy in Pacha's place: do they strike where they say they do?"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tests import needs
from tests.command import Pacha, Result, spoke_plainly
from tests.faults import strace
from tests.faults.kill import CHILD, GROUP, children, kill, wait_until
from tests.faults.ledger import Ledger
from tests.faults.world import build, facts, half_done, other_state

TOY = """#!{python}
import os, pathlib, subprocess, sys, time
state = pathlib.Path(os.environ["PACHA_STATE"])
if sys.argv[1] == "wait":
    child = subprocess.Popen(["sleep", "60"])
    (state / "waits").touch()
    sys.exit(child.wait())
try:
    for number in range(5):
        with open(state / str(number), "w") as file:
            file.write("text")
except OSError as error:
    sys.exit(f"no: {{error}}")
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pacha:
    """Something that writes five files, or waits for a child."""
    program = tmp_path / "toy"
    program.write_text(TOY.format(python=Path(sys.executable).resolve()))
    program.chmod(0o755)
    monkeypatch.setenv("PACHA_BIN", str(program))
    return Pacha.at(tmp_path / "place")


def written(toy: Pacha) -> list[str]:
    """Which files the toy finished."""
    return sorted(path.name for path in toy.state.iterdir() if path.stat().st_size)


@needs.strace
def test_each_writing_call_is_a_point(toy: Pacha, tmp_path: Path) -> None:
    result, calls = strace.record(toy, tmp_path / "log", "write")
    assert result.code == 0, result
    points = strace.points(calls, [toy.state], toy.store)
    assert [(point.call, point.nth) for point in points if point.call == "write"] == [
        ("write", n + 1) for n in range(5)
    ]
    assert sum(point.call in strace.OPENING for point in points) == 5


@needs.strace
def test_a_kill_lands_on_its_call(toy: Pacha, tmp_path: Path) -> None:
    _, calls = strace.record(toy, tmp_path / "log", "write")
    third = [point for point in strace.points(calls, [toy.state], toy.store) if point.call == "write"][2]
    for path in toy.state.iterdir():
        path.unlink()
    result = toy.run("write", before=third.options("signal=KILL", tmp_path / "log"))
    assert strace.struck(tmp_path / "log")
    assert result.code != 0
    assert written(toy) == ["0", "1"]


@needs.strace
def test_an_error_lands_on_its_call(toy: Pacha, tmp_path: Path) -> None:
    _, calls = strace.record(toy, tmp_path / "log", "write")
    second = [point for point in strace.points(calls, [toy.state], toy.store) if point.call == "openat"][1]
    for path in toy.state.iterdir():
        path.unlink()
    result = toy.run("write", before=second.options("error=ENOSPC", tmp_path / "log"))
    assert strace.struck(tmp_path / "log")
    assert spoke_plainly(result) == []
    assert "No space left" in result.err
    assert written(toy) == ["0"]


@pytest.mark.parametrize("victim", [GROUP, CHILD])
def test_a_kill_ends_the_command(toy: Pacha, victim: str) -> None:
    process = toy.start("wait")
    assert wait_until((toy.state / "waits").exists, process)
    deadline = time.monotonic() + 5
    while not children(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    kill(process, victim)
    assert toy.finish(process).code != 0


def test_a_ledger_notes_what_was_acknowledged(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.note(Result(0, '{"revision": "abc"}', ""))
    ledger.note(Result(0, '{"revision": null}', ""))
    ledger.note(Result(-9, '{"revisi', ""))
    assert ledger.revisions() == ["abc"]


def test_a_half_done_file_is_seen(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    build(tree)
    old = facts(tree)
    other_state(tree)
    new = facts(tree)
    assert half_done(old, new, old) == half_done(old, new, new) == []
    (tree / "d1" / "file0.conf").chmod(0o604)
    (tree / "d0" / "file0.conf").unlink()
    (tree / "stray").touch()
    wrong = half_done(old, new, facts(tree))
    assert [line.split(":")[0] for line in wrong] == ["d0/file0.conf", "d1/file0.conf", "stray"]


def test_a_traceback_is_not_plain_speech() -> None:
    assert spoke_plainly(Result(1, "", "Traceback (most recent call last):\n  …\nOSError"))
    assert spoke_plainly(Result(1, "", ""))
    assert spoke_plainly(Result(1, "", "pacha: no space left on the disk\n")) == []
