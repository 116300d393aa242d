"""Volatile lines: what a daemon rewrites all the time makes no revision, and is never lost or lied about."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.command import Pacha, Result, spoke_plainly
from tests.property.worlds import watching
from tests.steps import capture, newest, pending, revisions, watch_first

from pacha.adapters.hg.store import Store
from pacha.core.config import parse
from pacha.ops.capture import capture as capture_now
from pacha.ops.capture import look
from pacha.ops.tip import tip_of

FIRST = b"# generated at 10:00\nserial = 1\nport = 80\n"
VOLATILE = b"# generated at 10:05\n# generated at 10:06\nport = 80\nserial = 23"
REAL = b"# generated at 10:07\nserial = 24\nport = 443\n"


@pytest.fixture
def live(arena: Path, pacha: Pacha) -> Path:
    """A watched directory with a file whose two sorts of volatile lines are named in two tables."""
    tree = arena / "live"
    (tree / "below").mkdir(parents=True)
    (tree / "conf").write_bytes(FIRST)
    (tree / "below" / "other").write_bytes(FIRST)
    normalize(pacha, [f"{tree}/conf"], ["^# generated at "])
    normalize(pacha, [f"{tree}/conf", f"{tree}/below/**"], [r"serial = \d+"])
    watch_first(pacha, tree)
    return tree


def normalize(pacha: Pacha, paths: list[str], drop: list[str]) -> None:
    """Add a table to the configuration."""
    old = pacha.config.read_text() if pacha.config.exists() else ""
    quoted = ", ".join(f"'{expression}'" for expression in drop)
    pacha.config.write_text(f"{old}\n[[normalize]]\npaths = {paths}\ndrop = [{quoted}]\n")


def is_quiet(pacha: Pacha) -> None:
    """Nothing is pending, nothing recorded, and verify finds no difference."""
    count = len(revisions(pacha))
    assert pacha.run("status", "--check").code == 0
    assert pending(pacha) == []
    assert pacha.ok("verify")["live"] == []
    assert pacha.ok("capture")["revision"] is None
    assert pacha.ok("agent", "--once")["revision"] is None
    assert len(revisions(pacha)) == count


def stored(pacha: Pacha, path: Path, revision: str = "") -> bytes:
    """The stored content of a text file."""
    at = ["--at", revision] if revision else []
    return str(pacha.ok("cat", path, *at)["content"]).encode()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_change_of_volatile_lines_makes_no_revision(pacha: Pacha, live: Path) -> None:
    (live / "conf").write_bytes(VOLATILE)
    is_quiet(pacha)
    assert stored(pacha, live / "conf") == FIRST
    (live / "conf").write_bytes(b"port = 80\n")
    is_quiet(pacha)


def test_what_is_said_of_it_is_true(pacha: Pacha, live: Path) -> None:
    (live / "conf").write_bytes(VOLATILE)
    assert pacha.ok("verify")["normalized"] == [{"path": str(live / "conf")}]
    said = pacha.run("verify").out
    assert "but for volatile lines" in said
    assert str(live / "conf") in said
    assert pacha.ok("capture")["normalized"] == [{"path": str(live / "conf")}]
    assert "but for volatile lines" in pacha.run("capture").out
    assert pacha.run("agent", "--once") == Result(0, "", "")
    (live / "conf").write_bytes(FIRST)
    assert pacha.ok("verify")["normalized"] == []
    assert "volatile" not in pacha.run("verify").out + pacha.run("capture").out


def test_a_diff_shows_them(pacha: Pacha, live: Path) -> None:
    (live / "conf").write_bytes(VOLATILE)
    result = pacha.run("diff", "--exit-code")
    assert result.code == 4
    assert "+# generated at 10:05" in result.out


def test_a_file_that_is_replaced_and_another_time(pacha: Pacha, live: Path) -> None:
    for number in range(3):
        (live / "new").write_bytes(FIRST.replace(b"10:00", b"11:%02d" % number))
        os.rename(live / "new", live / "conf")
        os.utime(live / "conf", (number, number))
        is_quiet(pacha)


def test_any_other_change_stores_the_whole_file(pacha: Pacha, live: Path) -> None:
    (live / "conf").write_bytes(VOLATILE)
    is_quiet(pacha)
    (live / "conf").write_bytes(REAL)
    assert pending(pacha) == [("modified", str(live / "conf"))]
    assert pacha.run("verify").code == 4
    revision = capture(pacha)
    assert stored(pacha, live / "conf", revision) == REAL
    (live / "conf").write_bytes(REAL.replace(b"24", b"25"))
    is_quiet(pacha)
    (live / "conf").write_bytes(REAL.replace(b"24", b"25").rstrip(b"\n"))
    assert pending(pacha) == [("modified", str(live / "conf"))]


def test_only_the_lines_of_the_tables_that_match(pacha: Pacha, live: Path) -> None:
    (live / "below" / "other").write_bytes(FIRST.replace(b"serial = 1", b"serial = 2"))
    is_quiet(pacha)
    (live / "below" / "other").write_bytes(FIRST.replace(b"10:00", b"10:01"))
    assert pending(pacha) == [("modified", str(live / "below" / "other"))]


def test_metadata_with_volatile_lines_is_a_change(pacha: Pacha, live: Path) -> None:
    (live / "conf").write_bytes(VOLATILE)
    is_quiet(pacha)
    (live / "conf").chmod(0o600)
    assert pending(pacha) == [("modified", str(live / "conf"))]
    revision = capture(pacha)
    assert stored(pacha, live / "conf", revision) == VOLATILE
    assert pacha.ok("verify")["normalized"] == []
    (live / "conf").write_bytes(FIRST)
    is_quiet(pacha)


def test_capturing_one_path_or_another_change_beside_it(pacha: Pacha, live: Path) -> None:
    (live / "conf").write_bytes(VOLATILE)
    assert pacha.ok("capture", live / "conf", "-m", "no change")["revision"] is None
    (live / "new").write_text("new\n")
    answer = pacha.ok("capture")
    assert [change["path"] for change in answer["changed"] if change["change"] == "added"] == [
        str(live / "new")
    ]
    assert [found["path"] for found in answer["normalized"]] == [str(live / "conf")]
    assert stored(pacha, live / "conf") == FIRST
    is_quiet(pacha)


@pytest.mark.parametrize("hooks", [False, True])
def test_a_rollback_restores_the_last_byte_and_loses_none(pacha: Pacha, live: Path, hooks: bool) -> None:
    if hooks:
        hook = pacha.config.parent / "hooks" / "pre-rollback" / "50-none"
        hook.parent.mkdir(parents=True)
        hook.write_text("#!/bin/sh\n")
        hook.chmod(0o755)
        pacha.ok("capture")
    target = newest(pacha)
    was = digest(live / "conf")
    (live / "conf").write_bytes(VOLATILE)
    there = digest(live / "conf")
    is_quiet(pacha)
    plan = pacha.ok("rollback", live / "conf", "--to", target, "-n")
    assert [(step["action"], step["path"]) for step in plan["steps"]] == [("replace", str(live / "conf"))]
    done = pacha.ok("rollback", live, "--to", target, "-y")
    assert [step["path"] for step in done["steps"] if step["ok"]] == [str(live / "conf")]
    assert digest(live / "conf") == was
    is_quiet(pacha)
    before = revisions(pacha)[1]["id"]
    assert stored(pacha, live / "conf", before) == VOLATILE, "what was there was not captured first"
    assert stored(pacha, live / "conf") == FIRST
    pacha.ok("rollback", live / "conf", "--to", before, "-y")
    assert digest(live / "conf") == there


def test_a_rollback_over_real_and_volatile_changes(pacha: Pacha, live: Path) -> None:
    target, was = newest(pacha), digest(live / "conf")
    (live / "conf").write_bytes(REAL)
    capture(pacha)
    (live / "conf").write_bytes(REAL.replace(b"10:07", b"10:08"))
    pacha.ok("rollback", live, "--to", target, "-y")
    assert digest(live / "conf") == was
    is_quiet(pacha)


def test_what_a_hook_undoes_is_as_it_was(pacha: Pacha, live: Path) -> None:
    target = newest(pacha)
    (live / "conf").write_bytes(VOLATILE)
    hook = pacha.config.parent / "hooks" / "post-rollback" / "50-fails"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    assert pacha.run("rollback", live, "--to", target, "-y").code == 1
    assert (live / "conf").read_bytes() == VOLATILE
    pacha.ok("capture")
    is_quiet(pacha)


def test_without_the_index_it_is_looked_up_in_the_store(pacha: Pacha, live: Path) -> None:
    (live / "conf").write_bytes(VOLATILE)
    is_quiet(pacha)
    for path in pacha.state.glob("index.sqlite*"):
        path.unlink()
    is_quiet(pacha)
    for path in pacha.state.glob("index.sqlite*"):
        path.unlink()
    (live / "conf").write_bytes(REAL)
    assert stored(pacha, live / "conf", capture(pacha)) == REAL


def test_the_store_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with watching(tmp_path) as (host, live):
        live.mkdir()
        (live / "conf").write_bytes(FIRST)
        tables = f"\n[[normalize]]\npaths = ['{live}/conf']\ndrop = ['^# generated at ', 'serial = ']\n"
        host.config = parse((tmp_path / "pacha.toml").read_text() + tables, "pacha.toml")
        assert capture_now(host, cause="test").revision
        (live / "conf").write_bytes(VOLATILE)
        assert capture_now(host, cause="test").revision is None
        host.store.close()  # type: ignore[attr-defined]

        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("Mercurial was started")

        with monkeypatch.context() as patch:
            patch.setattr(Store, "_start", refuse)
            patch.setattr(Store, "prepare", refuse)
            for number in range(3):
                (live / "conf").write_bytes(VOLATILE.replace(b"23", b"%d" % number))
                assert capture_now(host, cause="test").normalized == [os.fsencode(live / "conf")]
        (live / "conf").write_bytes(REAL)
        assert capture_now(host, cause="test").revision
        with monkeypatch.context() as patch:
            patch.setattr(Store, "_start", refuse)
            (live / "conf").write_bytes(REAL.replace(b"24", b"25"))
            assert capture_now(host, cause="test").revision is None
            tip_of(host)
            with closing(host.new_spool()) as spool:
                assert not look(host, None, spool).refreshed, "it is written to the index again and again"


@pytest.mark.parametrize("how", ["binary", "was binary", "too large", "was too large"])
def test_what_is_no_text_or_too_large_is_compared_whole(pacha: Pacha, live: Path, how: str) -> None:
    large, binary = FIRST + b"x" * 2_000_000, FIRST + b"\0"
    before, after = {
        "binary": (FIRST, binary), "was binary": (binary, FIRST), "too large": (FIRST, large), "was too large": (large, FIRST)
    }[how]  # fmt: skip
    (live / "conf").write_bytes(before)
    pacha.run("capture")
    (live / "conf").write_bytes(after.replace(b"serial = 1", b"serial = 2"))
    assert pending(pacha) == [("modified", str(live / "conf"))]
    capture(pacha)
    (live / "conf").write_bytes(after.replace(b"serial = 1", b"serial = 3"))
    assert pending(pacha) == ([] if how.startswith("was") else [("modified", str(live / "conf"))])


def test_what_is_not_stored_is_compared_whole(pacha: Pacha, live: Path) -> None:
    pacha.config.write_text(pacha.config.read_text() + '[capture]\nmax_file_size = "10B"\n')
    capture(pacha)
    (live / "conf").write_bytes(VOLATILE)
    assert pending(pacha) == [("modified", str(live / "conf"))]


def test_after_forgetting_the_file_is_stored_again(pacha: Pacha, live: Path) -> None:
    (live / "conf").write_bytes(VOLATILE)
    is_quiet(pacha)
    pacha.ok("forget", live / "conf", "-y")
    assert pending(pacha) == [("modified", str(live / "conf"))]
    assert stored(pacha, live / "conf", capture(pacha)) == VOLATILE
    is_quiet(pacha)


def test_other_rules_make_no_revision_of_their_own(pacha: Pacha, live: Path) -> None:
    (live / "conf").write_bytes(VOLATILE)
    is_quiet(pacha)
    normalize(pacha, [f"{live}/**"], ["^# generated at "])
    assert pending(pacha) == [("modified", str(pacha.config))]
    capture(pacha)
    (live / "below" / "other").write_bytes(FIRST.replace(b"10:00", b"10:01"))
    is_quiet(pacha)
    text = pacha.config.read_text()
    pacha.config.write_text(text[: text.index("[[normalize]]")])
    assert {path for _, path in pending(pacha)} == {
        str(path) for path in (pacha.config, live / "conf", live / "below" / "other")
    }
    capture(pacha)
    assert stored(pacha, live / "conf") == VOLATILE


def test_names_of_one_file(pacha: Pacha, live: Path) -> None:
    os.link(live / "conf", live / "again")
    capture(pacha)
    normalize(pacha, [f"{live}/again"], ["^# generated at ", "^serial"])
    capture(pacha)
    (live / "conf").write_bytes(VOLATILE)
    is_quiet(pacha)
    (live / "new").write_bytes(FIRST.replace(b"10:00", b"12:00"))
    os.link(live / "new", live / "newer")
    os.rename(live / "new", live / "conf")
    os.rename(live / "newer", live / "again")
    is_quiet(pacha)
    assert pacha.ok("capture", live / "conf")["revision"] is None
    (live / "again").unlink()
    assert ("removed", str(live / "again")) in pending(pacha)
    capture(pacha)
    assert pending(pacha) == []


def test_names_of_one_file_of_which_the_rules_name_one(pacha: Pacha, live: Path) -> None:
    os.link(live / "conf", live / "again")
    target = capture(pacha)
    (live / "conf").write_bytes(VOLATILE)
    assert {path for _, path in pending(pacha)} == {str(live / "conf"), str(live / "again")}
    capture(pacha)
    pacha.ok("rollback", live, "--to", target, "-y")
    assert (live / "conf").samefile(live / "again")
    assert (live / "conf").read_bytes() == FIRST


def test_a_file_that_goes_and_comes(pacha: Pacha, live: Path) -> None:
    (live / "conf").write_bytes(VOLATILE)
    is_quiet(pacha)
    (live / "conf").unlink()
    capture(pacha)
    (live / "conf").write_bytes(FIRST)
    assert pending(pacha) == [("added", str(live / "conf"))]
    assert stored(pacha, live / "conf", capture(pacha)) == FIRST


def test_the_configuration_is_shown_with_its_lines(pacha: Pacha, live: Path) -> None:
    values = {value["key"]: value for value in pacha.ok("config")["values"]}
    assert values["normalize.1.drop"]["value"] == ["^# generated at "]
    assert values["normalize.2.paths"]["value"] == [f"{live}/conf", f"{live}/below/**"]
    lines = pacha.config.read_text().splitlines()
    for key in ("normalize.1.paths", "normalize.1.drop", "normalize.2.paths", "normalize.2.drop"):
        file, _, line = values[key]["from"].rpartition(":")
        assert (file, lines[int(line) - 1].partition(" ")[0]) == (str(pacha.config), key.rpartition(".")[2])
    assert "normalize.2.drop" in pacha.run("config").out


def wrong() -> Iterator[tuple[str, int, list[str]]]:
    """(text, line, words that must be said)."""
    yield "[[normalize]]\npaths = ['/a']\ndrop = ['(']\n", 3, ["normalize.drop", "'('", "regular expression"]
    yield (
        "[[normalize]]\npaths = ['/a']\ndrop = [\n 'a',\n '*',\n]\n",
        5,
        ["normalize.drop", "nothing to repeat"],
    )
    yield "[[normalize]]\npaths = ['/a']\ndrop = 'a'\n", 3, ["normalize.drop", "list"]
    yield "[[normalize]]\npaths = ['a/b']\ndrop = ['a']\n", 2, ["normalize.paths", "relative"]
    yield "[[normalize]]\npath = ['/a']\n", 2, ["normalize.path", "did you mean paths?"]
    yield "\n[[normalize]]\npaths = ['/a']\n", 2, ["normalize.drop", "missing"]
    yield "[normalize]\npaths = ['/a']\ndrop = ['a']\n", 1, ["[[normalize]]"]


@pytest.mark.parametrize(("text", "line", "words"), wrong())
def test_mistakes_are_named(pacha: Pacha, text: str, line: int, words: list[str]) -> None:
    pacha.config.write_text(text)
    for verb in (["config", "--check"], ["capture"]):
        result = pacha.run(*verb)
        assert result.code == 2
        assert spoke_plainly(result) == []
        assert f"{pacha.config}:{line}:" in result.err
        assert all(word in result.err for word in words), result.err
