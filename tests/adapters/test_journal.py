"""The journal: a plan that is on the disk whole or not at all, with every image as it was put in."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import entries, paths

from pacha.adapters.journal import Journal, Journals
from pacha.core.entry import DIRECTORY, FILE, Entry
from pacha.core.tracked import Recorded

HEADER = {"id": "one", "verb": "rollback", "host": "h", "target": "abc"}
LASTING = {**HEADER, "deadline_ns": None}
PLAIN = Entry(FILE, 0o644, 0, b"root", 0, b"root", 1, b"00" * 32)
FOLDER = Entry(DIRECTORY, 0o755, 0, b"root", 0, b"root")


@pytest.fixture
def journals(tmp_path: Path) -> Journals:
    return Journals(str(tmp_path / "journal"))


def only(journals: Journals) -> Journal:
    """The one complete journal, read from the disk."""
    ((journal, complete),) = journals.all()
    assert complete
    return journal


def test_an_armed_journal_comes_back_whole(journals: Journals) -> None:
    journal = journals.new("one")
    before, after, empty = journal.put(b"before\0"), journal.put(b"\xff" * 100_000), journal.put(b"")
    steps = [
        Recorded(b"/etc/\xff\n%", PLAIN, PLAIN._replace(mode=0), before, after),
        Recorded(b"/etc/new", None, PLAIN, None, empty),
        Recorded(b"/etc/gone", FOLDER, None, None, None),
    ]
    journal.arm(HEADER, steps, 123)
    again = only(journals)
    assert (again.id, again.header, again.steps) == ("one", {**HEADER, "deadline_ns": 123}, steps)
    assert (again.deadline_ns, again.is_applied) == (123, False)
    assert [again.get(blob) for blob in (before, after, empty)] == [b"before\0", b"\xff" * 100_000, b""]
    assert journal.get(before) == b"before\0"


@pytest.mark.parametrize("deadline", [None, 123])
def test_it_is_applied_from_the_mark_on(journals: Journals, deadline: int | None) -> None:
    journal = journals.new("one")
    journal.arm(HEADER, [], deadline)
    assert not only(journals).is_applied
    journal.mark_applied()
    assert journal.is_applied
    assert only(journals).is_applied
    assert only(journals).deadline_ns == deadline


@pytest.mark.parametrize("damage", [b"", b"{", b'{"state": "applying"}'])
def test_a_mark_that_is_not_whole_is_none(journals: Journals, tmp_path: Path, damage: bytes) -> None:
    journal = journals.new("one")
    journal.arm(HEADER, [], None)
    journal.mark_applied()
    (tmp_path / "journal" / "one" / "state").write_bytes(damage)
    assert not only(journals).is_applied


def test_a_journal_that_was_never_armed_is_not_complete(journals: Journals) -> None:
    assert not journals.any()
    assert list(journals.all()) == []
    journals.new("one").put(b"image")
    assert journals.any()
    ((journal, complete),) = journals.all()
    assert not complete
    journal.discard()
    assert not journals.any()


def test_without_its_plan_a_journal_is_not_complete(journals: Journals, tmp_path: Path) -> None:
    journal = journals.new("one")
    journal.arm(HEADER, [], None)
    journal.mark_applied()
    (tmp_path / "journal" / "one" / "plan").unlink()
    assert [complete for _, complete in journals.all()] == [False]


@pytest.mark.parametrize("keep", [0, 5, -1, -5])
def test_a_plan_cut_short_is_not_complete(journals: Journals, tmp_path: Path, keep: int) -> None:
    journal = journals.new("one")
    journal.arm(HEADER, [Recorded(b"/x", None, PLAIN, None, None)], None)
    plan = tmp_path / "journal" / "one" / "plan"
    plan.write_bytes(plan.read_bytes()[:keep].removesuffix(b"}"))
    assert [complete for _, complete in journals.all()] == [False]


def test_a_discarded_journal_is_gone(journals: Journals, tmp_path: Path) -> None:
    journal = journals.new("one")
    journal.arm(HEADER, [Recorded(b"/x", None, PLAIN, None, journal.put(b"x"))], None)
    journal.discard()
    assert list((tmp_path / "journal").iterdir()) == []
    journal.discard()


def test_nobody_else_can_read_the_images(journals: Journals, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        journal = journals.new("one")
        journal.put(b"secret")
        journal.arm(HEADER, [], None)
    finally:
        os.umask(before)
    for path in (tmp_path / "journal", *(tmp_path / "journal").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_several_journals_are_told_apart(journals: Journals) -> None:
    for name in ("b", "a"):
        journals.new(name).arm({**HEADER, "id": name}, [], None)
    assert [(journal.id, journal.header["id"]) for journal, _ in journals.all()] == [("a", "a"), ("b", "b")]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(paths, st.none() | entries, st.none() | entries), max_size=4))
def test_any_steps_come_back(made: list[tuple[bytes, Entry | None, Entry | None]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        journals = Journals(folder)
        journal = journals.new("one")
        steps = [Recorded(path, before, after, None, journal.put(path)) for path, before, after in made]
        journal.arm(HEADER, steps, None)
        again = only(journals)
        assert again.steps == steps
        assert [again.get(step.after_data) for step in again.steps if step.after_data] == [
            step.path for step in steps
        ]


KILLED = """
import os, signal, sys
from pacha.adapters.journal import Journals
journal = Journals(sys.argv[1]).new("one")
journal.put(b"image")
if sys.argv[2] == "armed":
    journal.arm({"id": "one"}, [], None)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("when", ["put", "armed"])
def test_killed_it_is_complete_or_not(journals: Journals, tmp_path: Path, when: str) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "journal"), when]
    (tmp_path / "journal").mkdir()
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert [complete for _, complete in journals.all()] == [when == "armed"]


def test_the_files_on_the_disk_never_change(journals: Journals, tmp_path: Path) -> None:
    journal = journals.new("one")
    journal.arm(HEADER, [Recorded(b"/a\n", None, FOLDER, None, journal.put(b"xy"))], None)
    folder = tmp_path / "journal" / "one"
    header, step = map(json.loads, (folder / "plan").read_text().splitlines())
    assert header == LASTING
    assert step == {
        "path": "/a%0A", "before": None, "before_data": None, "after_data": [0, 2],
        "after": "dir%09mode=0755%09owner=root:0%09group=root:0",
    }  # fmt: skip
    assert (folder / "images").read_bytes() == b"xy"
    assert not (folder / "state").exists()
    journal.mark_applied()
    assert json.loads((folder / "state").read_text()) == {"state": "applied"}
    assert sorted(path.name for path in folder.iterdir()) == ["images", "plan", "state"]
