"""Rollback as people do it: the plan first, a question, what was there kept, what cannot be done said."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.command import Pacha
from tests.oracle import compare, save_twin
from tests.steps import capture, newest, on_terminal, pending, revisions, watch_first

from tests import needs

pytestmark = needs.tools


@pytest.fixture
def live(arena: Path) -> Path:
    tree = arena / "live"
    (tree / "folder").mkdir(parents=True)
    (tree / "file").write_text("file\n")
    (tree / "folder" / "a").write_text("a\n")
    (tree / "folder" / "b").write_text("b\n")
    return tree


@pytest.fixture
def first(pacha: Pacha, live: Path, arena: Path) -> str:
    """The first revision, of which `twin` is a copy."""
    revision = watch_first(pacha, live)
    save_twin(live, arena / "twin")
    return revision


def damage(live: Path) -> None:
    (live / "file").write_text("damaged\n")
    (live / "folder" / "a").unlink()
    (live / "folder" / "b").chmod(0o600)
    (live / "new").mkdir()
    (live / "new" / "x").write_text("x\n")


def steps(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(step["action"], step["path"]) for step in answer["steps"]]


def test_the_plan_is_what_is_done(pacha: Pacha, live: Path, first: str, arena: Path) -> None:
    damage(live)
    save_twin(live, arena / "damaged")
    count = len(revisions(pacha))
    plan = pacha.ok("rollback", live, "--to", first, "-n")
    assert compare(arena / "damaged", live) == []
    assert len(revisions(pacha)) == count, "a dry run recorded something"
    done = pacha.ok("rollback", live, "--to", first, "-y")
    assert steps(plan) == steps(done)
    assert compare(arena / "twin", live) == []
    assert done["revision"] == newest(pacha)


def test_what_was_there_is_captured_first(pacha: Pacha, live: Path, first: str, arena: Path) -> None:
    damage(live)
    save_twin(live, arena / "damaged")
    pacha.ok("rollback", live, "--to", first, "-y")
    before = revisions(pacha)[1]["id"]
    pacha.ok("rollback", live, "--to", before, "-y")
    assert compare(arena / "damaged", live) == []


@pytest.mark.parametrize("answer", [b"n\n", b"\n", b"\x04", b"\x03", b"nonsense\n"])
def test_any_answer_but_yes_changes_nothing(pacha: Pacha, live: Path, first: str, answer: bytes) -> None:
    (live / "file").write_text("damaged\n")
    code, shown = on_terminal(pacha, "rollback", live, "--to", first, answer=answer)
    assert code == (130 if answer == b"\x03" else 1)
    assert str(live / "file") in shown
    assert (live / "file").read_text() == "damaged\n"
    assert len(revisions(pacha)) == 1


def test_yes_does_it(pacha: Pacha, live: Path, first: str) -> None:
    (live / "file").write_text("damaged\n")
    code, shown = on_terminal(pacha, "rollback", live, "--to", first, answer=b"y\n")
    assert code == 0, shown
    assert (live / "file").read_text() == "file\n"


def asked(pacha: Pacha, *args: str | Path, answer: bytes) -> tuple[int, bytes, bytes]:
    """Run a command whose standard output goes elsewhere, on a terminal; its exit code, what went there, and
    what the person saw.
    """
    terminal, its = pty.openpty()
    os.write(terminal, answer)
    process = subprocess.Popen(
        pacha.argv(*args),
        env=pacha.environment(),
        cwd=pacha.home,
        stdin=its,
        stdout=subprocess.PIPE,
        stderr=its,
    )
    out, _ = process.communicate(timeout=60)
    seen = os.read(terminal, 65_536)
    os.close(its)
    os.close(terminal)
    return process.returncode, out, seen


@pytest.mark.parametrize("how", [["--json"], ["--json", "-q"], []], ids=" ".join)
def test_nobody_is_asked_about_what_they_have_not_seen(
    pacha: Pacha, live: Path, first: str, how: list[str]
) -> None:
    damage(live)
    rollback = ("rollback", live, "--to", first, *how)
    code, out, seen = asked(pacha, *rollback, answer=b"n\n")
    assert code == 1
    assert seen.index(b"replace") < seen.index(b"do it? [y/N]")
    assert str(live / "file").encode() in seen
    assert (live / "file").read_text() == "damaged\n"
    code, out, seen = asked(pacha, *rollback, answer=b"y\n")
    assert code == 0, seen
    assert not how or json.loads(out)["ok"]
    assert (live / "file").read_text() == "file\n"
    code, out, seen = asked(pacha, "forget", live / "file", *how, answer=b"n\n")
    assert code == 1
    assert seen.index(b"to be removed from the history") < seen.index(b"do it? [y/N]")
    assert not how or json.loads(out)["error"]["kind"] == "refused"


@pytest.mark.parametrize("verb", ["rollback", "forget"])
def test_nothing_asks_without_a_terminal(pacha: Pacha, live: Path, first: str, verb: str) -> None:
    (live / "file").write_text("damaged\n")
    args = ["--to", first] if verb == "rollback" else []
    result = pacha.run(verb, live / "file", *args)
    assert result.code == 2
    assert "-y" in result.err
    assert (live / "file").read_text() == "damaged\n"


def test_a_whole_watch_that_is_gone(pacha: Pacha, live: Path, first: str, arena: Path) -> None:
    shutil.rmtree(live)
    status = pacha.run("status", "--check")
    assert status.code == 4
    pacha.run("capture")
    pacha.ok("rollback", live, "--to", first, "-y")
    assert compare(arena / "twin", live) == []


def parted(path: Path) -> None:
    """What `sed -i` does."""
    shutil.copy(path, path.with_name("new"))
    path.with_name("new").rename(path)


@pytest.mark.parametrize("named", ["one", "two"])
@pytest.mark.parametrize("how", [Path.unlink, parted, Path.touch])
def test_of_several_names_of_a_file_only_the_named_one_goes_back(
    pacha: Pacha, live: Path, how: Callable[[Path], None], named: str
) -> None:
    one, two = live / "one", live / "two"
    one.write_text("x\n")
    two.hardlink_to(one)
    first = watch_first(pacha, live)
    how(live / named)
    told = {diff["path"]: diff["metadata"] for diff in pacha.ok("diff", live / named)["differences"]}
    assert set(told) <= {str(live / named)}
    done = pacha.ok("rollback", live / named, "--to", first, "-y")
    assert {step["path"] for step in done["steps"]} <= {str(live / named)}
    assert (one.read_text(), two.read_text()) == ("x\n", "x\n")
    pacha.ok("rollback", live, "--to", first, "-y")
    assert one.samefile(two)


def test_hard_links_in_words(pacha: Pacha, live: Path) -> None:
    one, two = live / "one", live / "two"
    one.write_text("x\n")
    two.hardlink_to(one)
    first = watch_first(pacha, live)
    two.unlink()
    assert f"metadata {one}: loses its other names" in pacha.run("diff").out
    plan = pacha.run("rollback", live, "--to", first, "-n").out
    assert f"create    {two}  file 0644 " in plan
    assert f", a hard link of {one}" in plan
    shutil.copy2(one, two)
    assert f"metadata {two}: ceases to be a hard link of {one}" in pacha.run("diff").out
    plan = pacha.run("rollback", live, "--to", first, "-n").out
    assert f"link      {two}  becomes a hard link of {one}" in plan


@pytest.mark.parametrize("path", ["/etc/passwd", "/nosuch", "/", ".."])
def test_paths_that_are_not_watched(pacha: Pacha, live: Path, first: str, path: str) -> None:
    result = pacha.run("rollback", path, "--to", first, "-n", "--json")
    if result.code == 0:
        assert result.json["steps"] == []
    else:
        assert result.code == 2


def test_its_own_configuration_only_when_named(pacha: Pacha, live: Path, first: str) -> None:
    (live / "file").write_text("damaged\n")
    pacha.config.write_text("# edited\n" + pacha.config.read_text())
    pacha.ok("rollback", "/", "--to", first, "-y")
    assert (live / "file").read_text() == "file\n"
    assert pacha.config.read_text().startswith("# edited\n")
    pacha.ok("rollback", pacha.config, "--to", first, "-y")
    assert not pacha.config.read_text().startswith("# edited\n")


@needs.root
def test_immutable_things_are_reported_and_the_rest_done(
    pacha: Pacha, live: Path, first: str, arena: Path
) -> None:
    damage(live)
    subprocess.run(["chattr", "+i", str(live / "file"), str(live / "new")], check=True)
    plan = pacha.run("rollback", live, "--to", first, "-n", "--json")
    promised = {step["path"]: step["ok"] for step in plan.json["steps"]}
    assert (plan.code, promised[str(live / "file")], promised[str(live / "new")]) == (3, False, False)
    result = pacha.run("rollback", live, "--to", first, "-y", "--json")
    assert result.code == 3, result
    failed = {step["path"]: step["reason"] for step in result.json["steps"] if not step["ok"]}
    assert set(failed) == {str(live / "file"), str(live / "new"), str(live / "new" / "x")}
    assert all(failed.values())
    assert (live / "folder" / "a").read_text() == "a\n"
    subprocess.run(["chattr", "-i", str(live / "file"), str(live / "new")], check=True)
    pacha.ok("rollback", live, "--to", first, "-y")
    assert compare(arena / "twin", live) == []


def test_a_dry_run_tells_what_cannot_be_done(pacha: Pacha, live: Path, first: str) -> None:
    pacha.config.write_text('ignore = ["*.log"]\n' + pacha.config.read_text())
    (live / "made").mkdir()
    (live / "made" / "kept.log").write_text("ignored\n")
    plan = pacha.run("rollback", live, "--to", first, "-n", "--json")
    done = pacha.run("rollback", live, "--to", first, "-y", "--json")
    assert done.code == 3
    assert (live / "made" / "kept.log").exists()
    refused = [step["path"] for step in done.json["steps"] if not step["ok"]]
    assert refused == [str(live / "made")]
    assert [step["path"] for step in plan.json["steps"] if not step["ok"]] == refused
    assert plan.code == 3


def test_one_file_of_many(pacha: Pacha, live: Path, first: str) -> None:
    damage(live)
    answer = pacha.ok("rollback", live / "folder" / "a", "--to", first, "-y")
    assert steps(answer) == [("create", str(live / "folder" / "a"))]
    assert (live / "file").read_text() == "damaged\n"
    assert ("modified", str(live / "file")) in pending(pacha)


def test_before_the_first_revision_there_is_nothing_to_go_to(pacha: Pacha, live: Path, first: str) -> None:
    result = pacha.run("rollback", live, "--to", "2001-01-01", "-y")
    assert result.code == 2
    assert (live / "file").exists()


def test_a_path_watched_later_is_not_removed(pacha: Pacha, live: Path, first: str, arena: Path) -> None:
    later = arena / "later"
    later.mkdir()
    (later / "file").write_text("later\n")
    pacha.ok("watch", later)
    answer = pacha.run("rollback", later, "--to", first, "-y", "--json")
    assert (later / "file").read_text() == "later\n", answer


def test_hard_links_stay_linked(pacha: Pacha, live: Path, arena: Path) -> None:
    os.link(live / "file", live / "folder" / "linked")
    revision = watch_first(pacha, live)
    save_twin(live, arena / "linked twin")
    (live / "folder" / "linked").unlink()
    (live / "folder" / "linked").write_text("apart\n")
    capture(pacha)
    pacha.ok("rollback", live, "--to", revision, "-y")
    assert compare(arena / "linked twin", live) == []
