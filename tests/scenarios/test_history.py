"""Which revision is meant, and what log, show, diff and cat make of it."""

from __future__ import annotations

import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.command import Pacha
from tests.plainhg import StoreCopy
from tests.steps import capture, newest, revisions, watch_first

from tests import needs


@pytest.fixture
def live(arena: Path, pacha: Pacha) -> Path:
    tree = arena / "live"
    tree.mkdir()
    (tree / "file").write_text("one\n")
    watch_first(pacha, tree)
    return tree


def test_no_other_way_to_name_a_revision(pacha: Pacha, live: Path) -> None:
    for revision in ("", "tip", "-1", "0", "all()", "ffffffffffff", ".", "null", "1.5h", "--config=x"):
        result = pacha.run("show", "--", revision)
        assert result.code == 2, result
        assert result.out == ""
        assert len(result.err.splitlines()) <= 3
    for revision in ("", "tip", "-1"):
        assert pacha.run("diff", f"--from={revision}").code == 2, revision
        assert pacha.run("cat", live / "file", f"--at={revision}").code == 2, revision


def test_prefixes(pacha: Pacha, live: Path) -> None:
    seen: dict[str, str] = {}
    for number in range(17):
        (live / "file").write_text(f"{number}\n" * 2)
        revision = capture(pacha)
        if revision[0] in seen:
            break
        seen[revision[0]] = revision
    whole = pacha.run("show", revision)
    assert whole.code == 0
    assert pacha.run("show", revision[:8]).out == whole.out
    ids = [found["id"] for found in revisions(pacha)]
    if sum(found.startswith(revision[0]) for found in ids) > 1:
        ambiguous = pacha.run("show", revision[0])
        assert ambiguous.code == 2
        assert any(word in ambiguous.err for word in ("ambiguous", "more than one", "several", "not unique"))


def test_times_and_ages(pacha: Pacha, live: Path) -> None:
    first = newest(pacha)
    time.sleep(1.1)
    between = datetime.now(UTC)
    time.sleep(1.1)
    (live / "file").write_text("two\n")
    second = capture(pacha)
    for when, expected in (
        (between.isoformat(timespec="seconds"), first),
        (between.strftime("%Y-%m-%dT%H:%M:%SZ"), first),
        ("0s", second),
    ):
        assert pacha.run("show", when).out.startswith(f"revision {expected}"), when
    assert pacha.run("cat", live / "file", "--at", between.isoformat()).out == "one\n"
    for early in ("2020-01-01", "3d"):
        result = pacha.run("rollback", live, "--to", early, "-y")
        assert result.code == 2
        assert (live / "file").read_text() == "two\n"
    for late in ("2037-01-01", "2999-12-31T00:00:00Z"):
        assert "future" in pacha.run("show", late).err


def test_log_across_delete_and_create(pacha: Pacha, live: Path) -> None:
    (live / "file").unlink()
    capture(pacha)
    (live / "file").mkdir()
    (live / "file" / "inside").write_text("x\n")
    capture(pacha)
    told = [entry["paths"] for entry in revisions(pacha, live / "file")]
    changes = [{path["path"]: path["change"] for path in paths}[str(live / "file")] for paths in told]
    assert changes == ["added", "removed", "added"]
    assert len(revisions(pacha, live / "file" / "inside")) == 1
    assert len(revisions(pacha, live)) == 3
    assert [entry["id"] for entry in pacha.ok("log", "-n", "1")["revisions"]] == [newest(pacha)]
    assert pacha.ok("log", "--since", "1h", "-n", "0")["revisions"] == revisions(pacha)
    assert pacha.run("log", live / "never").code == 2


def test_patch_applies_what_diff_says(pacha: Pacha, live: Path, tmp_path: Path) -> None:
    (live / "endless").write_text("no newline")
    (live / "gone").write_text("a\nb\n")
    first = capture(pacha)
    (live / "file").write_text("one\nand more\n")
    (live / "endless").write_text("no newline still")
    (live / "made").write_text("new\n")
    (live / "gone").unlink()
    second = capture(pacha)
    said = pacha.run("diff", "--from", first, "--to", second).out
    pacha.ok("rollback", live, "--to", first, "-y")
    (tmp_path / "patch").write_text(said)
    subprocess.run(["patch", "-s", "-p1", "-d", "/", "-i", str(tmp_path / "patch")], check=True)
    assert (live / "file").read_text() == "one\nand more\n"
    assert (live / "endless").read_text() == "no newline still"
    assert (live / "made").read_text() == "new\n"
    assert not (live / "gone").exists()


def test_exit_codes_of_diff(pacha: Pacha, live: Path) -> None:
    assert pacha.run("diff", "--exit-code").code == 0
    (live / "file").chmod(0o600)
    assert pacha.run("diff").code == 0
    result = pacha.run("diff", "--exit-code")
    assert result.code == 4
    assert "mode 0644 → 0600" in result.out
    assert pacha.run("diff", "--exit-code", "--from", "0s", "--to", "0s").code == 0


def test_binary_files_by_size_and_digest(pacha: Pacha, live: Path) -> None:
    (live / "file").write_bytes(b"a\0b")
    said = pacha.run("diff", live / "file").out
    assert "3 bytes" in said
    assert "sha256" in said
    assert "\0" not in said


@needs.root
@needs.tools
def test_metadata_in_words(pacha: Pacha, live: Path) -> None:
    for args in (["chown", "1:1"], ["setfattr", "-n", "user.note", "-v", "x"], ["setfacl", "-m", "u:2:r"]):
        subprocess.run([*args, str(live / "file")], check=True)
    said = pacha.run("diff", live / "file").out
    for word in ("owner root → daemon", "group root → daemon", "user.note", "acl"):
        assert word in said, said


def test_plain_mercurial_of_any_version(pacha: Pacha, live: Path, tmp_path: Path) -> None:
    (live / "file").write_text("two\n")
    second = capture(pacha)
    copy = StoreCopy(pacha.store, tmp_path / "copy")
    assert copy.nodes()[-1].startswith(second)
    system = Path("/usr/bin/hg")
    commands = [[str(system)]] if system.exists() else []
    for command in commands:
        said = subprocess.run(
            [*command, "-R", str(copy.path), "cat", "-r", second, f"{copy.path}/files{live}/file"],
            env={"HGRCPATH": "", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
        )
        assert said.stdout == "two\n", said
    assert copy.complaints() == []
