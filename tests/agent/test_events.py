"""What happens below a watch becomes a revision by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests import needs
from tests.agents import Agent, running, stored, until
from tests.command import Pacha
from tests.steps import pending, revisions


@pytest.fixture
def live(live: Path) -> Path:
    """With a file further down."""
    (live / "sub" / "deep").write_text("deep\n")
    return live


def changes(agent: Agent, path: Path) -> list[tuple[str, str]]:
    """(change, path) of everything in the newest revision that touches `path`."""
    return [(each["change"], each["path"]) for each in agent.newest(path)["paths"]]


def content(agent: Agent, path: Path) -> str:
    """The file as the last revision has it."""
    return agent.pacha.run("cat", path).out


def test_a_write_is_captured(agent: Agent, live: Path) -> None:
    before = len(revisions(agent.pacha))
    (live / "file").write_text("two\n")
    until(lambda: len(revisions(agent.pacha)) > before)
    assert changes(agent, live / "file") == [("modified", str(live / "file"))]
    assert content(agent, live / "file") == "two\n"
    told = agent.told()
    assert (told["pid"], told["running"], told["degraded"]) == (agent.pid, True, [])
    assert told["events"] > 0
    assert told["revisions"] == 1


def test_a_write_to_a_file_that_stays_open_is_captured(agent: Agent, live: Path) -> None:
    with open(live / "file", "a") as handle:
        handle.write("more\n")
        handle.flush()
        until(lambda: stored(agent.pacha, live / "file") == "one\nmore\n")


@pytest.mark.parametrize("how", ["replace", "remove", "chmod", "link", "touch", "directory", "fifo"])
def test_every_kind_of_change_is_captured(agent: Agent, live: Path, how: str) -> None:
    file = live / "file"
    if how == "replace":
        (live / "new").write_text("replaced\n")
        os.rename(live / "new", file)
        until(lambda: stored(agent.pacha, file) == "replaced\n")
        return
    if how == "touch":
        count = len(revisions(agent.pacha))
        os.utime(file)
        agent.settle()
        time.sleep(0.3)
        assert len(revisions(agent.pacha)) == count
        return
    if how == "remove":
        file.unlink()
    elif how == "chmod":
        file.chmod(0o600)
    elif how == "link":
        os.link(file, live / "other")
    elif how == "directory":
        (live / "d" / "e").mkdir(parents=True)
    elif how == "fifo":
        os.mkfifo(live / "fifo")
    until(lambda: len(revisions(agent.pacha)) > 1)
    agent.settle()
    assert agent.pacha.run("verify").code == 0


def test_what_is_made_in_a_new_directory_at_once_is_not_lost(agent: Agent, live: Path) -> None:
    for turn in range(20):
        folder = live / f"new{turn}" / "a" / "b"
        folder.mkdir(parents=True)
        (folder / "file").write_text(f"{turn}\n")
    agent.settle()
    until(lambda: agent.pacha.run("verify").code == 0)
    for turn in range(20):
        assert stored(agent.pacha, live / f"new{turn}" / "a" / "b" / "file") == f"{turn}\n"
    # What comes later is heard of, too.
    (live / "new7" / "a" / "b" / "later").write_text("later\n")
    until(lambda: stored(agent.pacha, live / "new7" / "a" / "b" / "later") == "later\n")


def test_trees_that_are_moved(agent: Agent, live: Path, arena: Path) -> None:
    outside = arena / "outside"
    shutil.copytree(live / "sub", outside / "tree")
    os.rename(outside / "tree", live / "came")
    until(lambda: stored(agent.pacha, live / "came" / "deep") == "deep\n")
    os.rename(live / "came", live / "sub" / "moved")
    until(lambda: stored(agent.pacha, live / "sub" / "moved" / "deep") == "deep\n")
    (live / "sub" / "moved" / "deep").write_text("after the move\n")
    until(lambda: stored(agent.pacha, live / "sub" / "moved" / "deep") == "after the move\n")
    os.rename(live / "sub", outside / "gone")
    agent.settle()
    until(lambda: agent.pacha.run("verify").code == 0)
    count = len(revisions(agent.pacha))
    (outside / "gone" / "deep").write_text("no longer watched\n")
    time.sleep(0.3)
    agent.settle()
    assert len(revisions(agent.pacha)) == count


def test_a_watch_that_goes_and_comes_back(agent: Agent, live: Path, arena: Path) -> None:
    shutil.rmtree(live)
    until(lambda: agent.pacha.ok("status")["missing"])
    live.mkdir()
    (live / "fresh").write_text("fresh\n")
    until(lambda: stored(agent.pacha, live / "fresh") == "fresh\n")
    os.rename(live, arena / "aside")
    live.mkdir()
    (live / "third").write_text("third\n")
    until(lambda: stored(agent.pacha, live / "third") == "third\n")


def test_a_watch_that_is_not_there_yet(pacha: Pacha, arena: Path) -> None:
    place = arena / "opt" / "shop" / "conf"
    pacha.config.write_text(f'watch = ["{place}", "{arena}/home/.rc"]\n')
    arena.joinpath("home").mkdir()
    with running(pacha) as agent:
        assert {each["path"] for each in pacha.ok("status")["missing"]} == {str(place), f"{arena}/home/.rc"}
        place.mkdir(parents=True)
        (place / "a").write_text("a\n")
        until(lambda: stored(agent.pacha, place / "a") == "a\n")
        (arena / "home" / ".rc").write_text("rc\n")
        until(lambda: stored(agent.pacha, arena / "home" / ".rc") == "rc\n")
        (arena / "home" / ".rc").write_text("rc 2\n")
        until(lambda: stored(agent.pacha, arena / "home" / ".rc") == "rc 2\n")
        (arena / "home" / "other").write_text("not watched\n")
        agent.settle()
        assert pending(pacha) == []


def test_ignored_and_half_written_files_make_no_revision(agent: Agent, live: Path) -> None:
    for name in (".file.swp", "file~", ".pacha.0123456789abcdef.new"):
        (live / name).write_text("x\n")
    time.sleep(0.3)
    agent.settle()
    assert len(revisions(agent.pacha)) == 1


def test_a_rollback_makes_no_echo(agent: Agent, live: Path) -> None:
    first = revisions(agent.pacha)[0]["id"]
    for name in ("file", "sub/deep"):
        (live / name).write_text("spoiled\n")
    agent.newest(live / "file")
    agent.pacha.ok("rollback", live, "--to", first, "-y")
    time.sleep(0.5)
    agent.settle()
    causes = [revision["cause"] for revision in revisions(agent.pacha)]
    assert causes[0] == "rollback"
    assert causes.count("rollback") == 1
    assert content(agent, live / "file") == "one\n"


def test_many_quick_changes_are_one_revision_and_the_last_state_is_kept(agent: Agent, live: Path) -> None:
    before = len(revisions(agent.pacha))
    for turn in range(30):
        (live / "file").write_text(f"{turn}\n")
        (live / f"n{turn % 3}").write_text(f"{turn}\n")
    until(lambda: stored(agent.pacha, live / "file") == "29\n")
    agent.settle()
    assert len(revisions(agent.pacha)) - before <= 3
    assert agent.pacha.run("verify").code == 0


@needs.root
def test_a_mount_that_appears_and_goes(agent: Agent, live: Path) -> None:
    place = live / "sub"
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    try:
        (place / "on the mount").write_text("x\n")
        until(lambda: agent.pacha.ok("status")["skipped"])
        time.sleep(1.5)
        agent.settle()
    finally:
        subprocess.run(["umount", place], check=True)
    (place / "deep").write_text("below again\n")
    until(lambda: stored(agent.pacha, place / "deep") == "below again\n")
