"""`rollback --confirm`: kept when confirmed, undone when not, even where everything was killed meanwhile."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from tests.agents import until
from tests.command import Pacha
from tests.faults.kill import strike
from tests.steps import revisions, watch_first

SOON = "2s"


@pytest.fixture
def file(arena: Path, pacha: Pacha) -> Path:
    """A file of two states: captured as `old`, now `new`."""
    (arena / "live").mkdir()
    path = arena / "live" / "file"
    path.write_text("old\n")
    watch_first(pacha, arena / "live")
    path.write_text("new\n")
    return path


def roll_back(pacha: Pacha, file: Path, within: str) -> str:
    """Roll back with a deadline; the id to confirm."""
    first = revisions(pacha)[-1]["id"]
    identity = pacha.ok("rollback", file, "--to", first, "-y", "--confirm", within)["confirm"]
    assert identity
    assert file.read_text() == "old\n"
    return str(identity)


def wait_for(file: Path, content: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    while file.read_text() != content and time.monotonic() < until:
        time.sleep(0.05)
    assert file.read_text() == content


def helpers(pacha: Pacha) -> list[int]:
    """Processes of this installation that are still running."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(pacha.state) in line:
                found.append(int(entry.name))
    return found


def test_confirmed_in_time(pacha: Pacha, file: Path) -> None:
    identity = roll_back(pacha, file, SOON)
    waiting = pacha.ok("status")["unconfirmed"]
    assert [entry["id"] for entry in waiting] == [identity]
    assert identity in pacha.run("status").out
    pacha.ok("confirm", identity)
    time.sleep(2.5)
    assert file.read_text() == "old\n"
    assert pacha.ok("status")["unconfirmed"] == []
    assert pacha.run("confirm", identity).code == 2


def test_undone_when_nobody_confirms(pacha: Pacha, file: Path) -> None:
    roll_back(pacha, file, "1s")
    wait_for(file, "new\n", 10)
    time.sleep(0.5)
    assert pacha.ok("status")["unconfirmed"] == []
    messages = [revision["message"] for revision in revisions(pacha)]
    assert any("undone" in message for message in messages), messages
    until = time.monotonic() + 10
    while helpers(pacha) and time.monotonic() < until:
        time.sleep(0.1)
    assert helpers(pacha) == [], "the timer runs on"


def test_undone_by_the_next_command_where_all_was_killed(pacha: Pacha, file: Path) -> None:
    roll_back(pacha, file, SOON)
    for process in helpers(pacha):
        strike(process)
    time.sleep(2.3)
    assert file.read_text() == "old\n"
    result = pacha.run("status")
    assert result.code == 0, result
    assert file.read_text() == "new\n"
    assert "undone" in result.out + result.err


def test_a_command_before_the_deadline_leaves_it(pacha: Pacha, file: Path) -> None:
    identity = roll_back(pacha, file, "60s")
    for process in helpers(pacha):
        strike(process)
    pacha.run("capture")
    assert file.read_text() == "old\n"
    pacha.ok("confirm", identity)


def test_killed_with_files_half_written_it_leaves_no_folder(pacha: Pacha, file: Path) -> None:
    many = file.parent / "many"
    many.mkdir()
    for number in range(200):
        (many / str(number)).write_text(f"{number}\n")
    pacha.ok("capture")
    first = revisions(pacha)[0]["id"]
    shutil.rmtree(many)
    process = pacha.start("rollback", file.parent, "--to", first, "-y", "--confirm", SOON)
    while not (many.exists() and os.listdir(many)):
        assert process.poll() is None
    strike(process.pid)
    process.wait()
    assert not (many / "199").exists(), "it was at work"
    until(lambda: not many.exists())
    until(lambda: pacha.ok("status")["unconfirmed"] == [])
    assert file.read_text() == "new\n"


@pytest.mark.parametrize("identity", ["nosuch", "../../x", "", "-1"])
def test_unknown_ids(pacha: Pacha, file: Path, identity: str) -> None:
    result = pacha.run("confirm", "--", identity)
    assert result.code == 2
    assert "Traceback" not in result.err


@pytest.mark.parametrize("duration", ["0s", "soon", "-1s", ""])
def test_a_deadline_that_is_none(pacha: Pacha, file: Path, duration: str) -> None:
    first = revisions(pacha)[-1]["id"]
    result = pacha.run("rollback", file, "--to", first, "-y", f"--confirm={duration}")
    assert result.code == 2, result
    assert file.read_text() == "new\n"


def test_what_was_edited_meanwhile_is_in_the_history(pacha: Pacha, file: Path) -> None:
    roll_back(pacha, file, "1s")
    file.write_text("edited meanwhile\n")
    wait_for(file, "new\n", 10)
    time.sleep(0.5)
    contents = [pacha.run("cat", file, "--at", revision["id"]).out for revision in revisions(pacha, file)]
    assert "edited meanwhile\n" in contents
