"""Which revision is meant, and what log, show, diff and cat make of it. Blame has tests of its own."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.adapters.stores import TIME_NS, commit
from tests.command import Pacha
from tests.plainhg import StoreCopy
from tests.steps import capture, newest, revisions, watch_first

from pacha.adapters.hg.store import Store
from pacha.core.revision import Stamp
from tests import needs


@pytest.fixture
def live(arena: Path, pacha: Pacha) -> Path:
    tree = arena / "live"
    tree.mkdir()
    (tree / "file").write_text("one\n")
    (tree / "file").chmod(0o644)
    watch_first(pacha, tree)
    return tree


def test_no_other_way_to_name_a_revision(pacha: Pacha, live: Path) -> None:
    # A digit may be the beginning of the id.
    number = next(digit for digit in "01" if not newest(pacha).startswith(digit))
    for revision in ("", "tip", "-1", number, "all()", "ffffffffffff", ".", "null", "1.5h", "--config=x"):
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
    (made,) = revisions(pacha)
    first = made["id"]
    # The time is told without its fraction: the next whole second is after it.
    between = datetime.fromisoformat(made["time"]).astimezone(UTC) + timedelta(seconds=1)
    while datetime.now(UTC) <= between + timedelta(milliseconds=100):
        time.sleep(0.05)
    (live / "file").write_text("two\n")
    second = capture(pacha)
    for when, expected in (
        (between.isoformat(timespec="seconds"), first),
        (between.strftime("%Y-%m-%dT%H:%M:%SZ"), first),
        ("0s", second),
    ):
        assert pacha.run("show", when).out.startswith(f"revision {expected}"), when
    exactly = (between + timedelta(microseconds=1)).isoformat()
    assert pacha.run("cat", live / "file", "--at", exactly).out == "one\n"
    for early in ("2020-01-01", "3d"):
        result = pacha.run("rollback", live, "--to", early, "-y")
        assert result.code == 2
        assert (live / "file").read_text() == "two\n"
    for late in ("2037-01-01", "2999-12-31T00:00:00Z"):
        assert "future" in pacha.run("show", late).err


def test_show_tells_who_wrote(pacha: Pacha, live: Path) -> None:
    sed = {
        "user": "root",
        "login": "alice",
        "exe": "/usr/bin/sed",
        "command": "sed -i s/80/8080/ ports.conf",
        "via": "sudo",
        "session": "3",
        "unit": "nginx.service",
    }
    daemon = {
        "user": "www-data",
        "login": None,
        "exe": "/usr/sbin/nginx",
        "command": "nginx: worker\x1b[31m\nforged",
    }
    stamp = Stamp("host", "machine", 2, TIME_NS, "agent", (sed, daemon, daemon))
    with closing(Store(os.fsencode(pacha.store))) as store:
        node = commit(store, {b"facts/os": b"any"}, 2, stamp=stamp)
    said = pacha.run("show", node[:12]).out.splitlines()
    assert [line for line in said if line.startswith("by ")] == [
        "by       alice via sudo: sed -i s/80/8080/ ports.conf  (session 3, nginx.service)",
        "by       www-data: nginx: worker\\x1b[31m\\nforged",
    ]
    assert pacha.ok("show", node[:12])["who"] == [sed, daemon, daemon]
    assert revisions(pacha)[0]["who"] == [sed, daemon, daemon]
    assert revisions(pacha)[1]["who"] == []


def test_log_says_nothing_twice(pacha: Pacha, live: Path) -> None:
    for number in range(14):
        (live / f"{number}").write_text("new\n")
    capture(pacha)
    (live / "0").write_text("other\n")
    capture(pacha)
    for name in ("0", "1", "2", "3"):
        (live / name).write_text("once more\n")
    pacha.ok("capture", "-m", f"all of {live}/0123")

    def row(*paths: Path) -> list[str]:
        return [line.split(None, 4)[4] for line in pacha.run("log", *paths).out.splitlines()]

    told = row()
    assert told[:2] == [f"all of {live}/0123  (4 changes)", f"modify {live}/0"]
    assert told[2] == f"capture: 14 changes in {live}"
    four = [live / name for name in ("3", "4", "5", "6")]
    assert row(*four)[1] == f"{told[2]}  (4 changes)"
    assert row(live / "1")[:2] == [f"all of {live}/0123  ({live}/1)", f"{told[2]}  ({live}/1)"]


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
