"""An ordinary user's agent: events without names, and everything else as for root."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import needs, unprivileged
from tests.agents import Agent, is_stored, running, until
from tests.command import Pacha
from tests.steps import pending, revisions, watch_first

pytestmark = needs.root


@pytest.fixture
def live(open_arena: Path) -> Path:
    tree = open_arena / "live"
    tree.mkdir()
    (tree / "file").write_text("one\n")
    (tree / "sub").mkdir()
    for path in (tree, tree / "file", tree / "sub"):
        os.chown(path, unprivileged.USER, unprivileged.USER)
    return tree


@pytest.fixture
def agent(open_arena: Path, live: Path) -> Iterator[Agent]:
    python = unprivileged.interpreter(open_arena)
    if python is None:
        pytest.skip("no Python of this version that other users may run")
    pacha = Pacha.at(open_arena / "pacha", interpreter=python, user=unprivileged.USER)
    watch_first(pacha, live)
    with running(pacha) as agent:
        yield agent


def test_captures_work_and_nobody_is_named(agent: Agent, live: Path) -> None:
    told = agent.told()
    assert (told["mode"], told["running"]) == ("inotify", True)
    (live / "file").write_text("two\n")
    unprivileged.as_user(lambda: (live / "sub" / "own").write_text("own\n"))
    until(lambda: is_stored(agent.pacha, live / "file") and is_stored(agent.pacha, live / "sub" / "own"))
    agent.settle()
    taken = [revision for revision in revisions(agent.pacha) if revision["cause"] == "agent"]
    assert taken
    for revision in taken:
        assert (revision["author"], revision["who"]) == ("unknown", [])
    assert agent.pacha.run("verify").code == 0


def test_new_and_moved_directories_are_heard(agent: Agent, live: Path, open_arena: Path) -> None:
    deep = live / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep\n")
    until(lambda: is_stored(agent.pacha, deep / "file"))
    os.rename(live / "a", live / "sub" / "a")
    moved = live / "sub" / "a" / "b" / "file"
    until(lambda: is_stored(agent.pacha, moved))
    moved.write_text("after the move\n")
    until(lambda: is_stored(agent.pacha, moved))
    os.rename(live / "sub", open_arena / "gone")
    until(lambda: pending(agent.pacha) == [] and agent.told()["queue"] == 0)
    shutil.rmtree(open_arena / "gone")
    (live / "file").write_text("three\n")
    until(lambda: is_stored(agent.pacha, live / "file"))


def test_that_it_is_not_root_is_no_trouble(agent: Agent, live: Path) -> None:
    """What cannot be otherwise must not alarm anybody."""
    (live / "file").write_text("two\n")
    until(lambda: is_stored(agent.pacha, live / "file"))
    agent.settle()
    result = agent.pacha.run("status", "--check")
    assert result.code == 0, result


def test_what_it_may_not_read_is_told(agent: Agent, live: Path) -> None:
    (live / "closed").write_text("root's own\n")
    (live / "closed").chmod(0o600)
    until(lambda: any(item["path"] == str(live / "closed") for item in agent.pacha.ok("status")["skipped"]))
    (live / "file").write_text("two\n")
    until(lambda: is_stored(agent.pacha, live / "file"))
    (live / "closed").chmod(0o644)
    until(lambda: is_stored(agent.pacha, live / "closed"))
    until(lambda: not agent.pacha.ok("status")["skipped"])
