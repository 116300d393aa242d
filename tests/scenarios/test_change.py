"""`pacha change`: a maintenance is one revision, and nothing before it is mixed in."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.command import Pacha
from tests.steps import revisions, watch_first


def test_from_begin_to_end_is_one_revision(pacha: Pacha, arena: Path) -> None:
    (arena / "a").write_text("1\n")
    watch_first(pacha, arena)
    (arena / "a").write_text("before\n")
    begun = pacha.ok("change", "begin", "-m", "OPS-1: the move", "--json")
    assert begun["open"] is True
    assert [each["path"] for each in begun["changed"]] == [str(arena / "a")]
    (arena / "a").write_text("during\n")
    (arena / "b").write_text("new\n")
    assert pacha.ok("status")["change"]["message"] == "OPS-1: the move"
    assert "open since" in pacha.run("status").out
    ended = pacha.ok("change", "end", "--json")
    assert ended["open"] is False
    newest, before, *_ = revisions(pacha)
    assert (newest["message"], newest["cause"]) == ("OPS-1: the move", "change")
    assert {each["path"] for each in newest["paths"]} == {str(arena), str(arena / "a"), str(arena / "b")} - (
        {str(arena)} - {each["path"] for each in newest["paths"]}
    )
    assert before["message"] == "before: OPS-1: the move"
    assert pacha.ok("status")["change"] is None


def test_nothing_changed_is_no_revision_and_the_change_is_closed(pacha: Pacha, arena: Path) -> None:
    watch_first(pacha, arena)
    pacha.ok("change", "begin", "-m", "x")
    assert pacha.ok("change", "end")["revision"] is None
    assert pacha.ok("status")["change"] is None


def test_what_cannot_be(pacha: Pacha, arena: Path) -> None:
    watch_first(pacha, arena)
    assert pacha.run("change", "begin").code == 2
    assert pacha.run("change", "begin", "-m", "  ").code == 2
    assert pacha.run("change").code == 2
    ended = pacha.run("change", "end")
    assert (ended.code, "no change is open" in ended.err) == (1, True)
    pacha.ok("change", "begin", "-m", "first")
    second = pacha.run("change", "begin", "-m", "second")
    assert (second.code, "first" in second.err) == (1, True)
    ended = pacha.ok("change", "end", "-m", "a better word")
    assert ended["open"] is False


def test_cron_captures_nothing_meanwhile_until_it_has_been_forgotten(pacha: Pacha, arena: Path) -> None:
    (arena / "a").write_text("1\n")
    watch_first(pacha, arena)
    pacha.ok("change", "begin", "-m", "long")
    (arena / "a").write_text("2\n")
    assert pacha.ok("agent", "--once")["revision"] is None
    assert len(revisions(pacha)) == 1
    old = time.time() - 9 * 3600
    os.utime(pacha.state / "change.json", (old, old))
    assert pacha.ok("agent", "--once")["revision"] is not None
