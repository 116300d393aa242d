"""Caches lost, locks left behind, transactions abandoned and stores damaged: healed, or told in a sentence."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.command import Pacha, spoke_plainly
from tests.plainhg import StoreCopy
from tests.steps import capture, newest, pending, watch_first


@pytest.fixture
def live(arena: Path, pacha: Pacha) -> Path:
    """A tree with three revisions."""
    tree = arena / "live"
    tree.mkdir()
    (tree / "file").write_text("0\n")
    (tree / "other").write_bytes(os.urandom(300_000))
    watch_first(pacha, tree)
    for number in (1, 2):
        (tree / "file").write_text(f"{number}\n" * number)
        capture(pacha)
    return tree


def _schema(index: Path) -> None:
    index.unlink()
    with sqlite3.connect(index) as database:
        database.execute("CREATE TABLE entries (strange)")
        database.execute("PRAGMA user_version = 999")
    database.close()


def _folder(index: Path) -> None:
    index.unlink()
    index.mkdir()


INDEX_DAMAGE: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "empty": lambda index: index.write_bytes(b""),
    "garbage": lambda index: index.write_bytes(os.urandom(9000)),
    "text": lambda index: index.write_text("garbage\n"),
    "truncated": lambda index: os.truncate(index, 5000),
    "schema": _schema,
    "folder": _folder,
}


@pytest.mark.parametrize("how", INDEX_DAMAGE)
def test_the_index_is_only_a_cache(pacha: Pacha, live: Path, how: str) -> None:
    last = newest(pacha)
    INDEX_DAMAGE[how](pacha.state / "index.sqlite")
    status = pacha.run("status", "--json")
    assert status.code == 0, status
    assert status.json["pending"] == []
    assert pacha.ok("capture")["revision"] is None
    assert newest(pacha) == last
    (live / "file").write_text("three\n")
    assert pending(pacha) == [("modified", str(live / "file"))]


def test_the_index_of_another_machine(pacha: Pacha, live: Path, tmp_path: Path) -> None:
    other = Pacha.at(tmp_path / "other")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("another machine's\n")
    watch_first(other, tmp_path / "tree")
    shutil.copy(other.state / "index.sqlite", pacha.state / "index.sqlite")
    for left in pacha.state.glob("index.sqlite-*"):
        left.unlink()
    assert pending(pacha) == []
    assert pacha.ok("capture")["revision"] is None


@pytest.fixture
def sleeper() -> Iterator[int]:
    """The number of a living process that is none of Pacha's."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process.pid
        process.kill()


def lock_of(process: int | str, host: str | None = None) -> str:
    """What Mercurial writes into its lock."""
    space = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    return f"{host or socket.gethostname()}/{int(space):x}:{process}"


@pytest.mark.parametrize("whose", ["dead", "reused", "renamed host", "after a reboot"])
def test_mercurials_stale_locks_stop_nothing(pacha: Pacha, live: Path, sleeper: int, whose: str) -> None:
    target = {
        "dead": lock_of(999_999_999),
        "reused": lock_of(sleeper),
        "renamed host": lock_of(1, "old-name"),
        "after a reboot": f"{socket.gethostname()}/1:{sleeper}",
    }[whose]
    os.symlink(target, pacha.store / ".hg" / "store" / "lock")
    os.symlink(target, pacha.store / ".hg" / "wlock")
    (live / "file").write_text("three\n")
    result = pacha.run("capture", "--json")
    assert result.code == 0, result
    assert result.json["revision"]


def abandon(store: Path) -> None:
    """Leave what a killed process leaves: a journal, and half a revision behind the end of the files."""
    inside = store / ".hg" / "store"
    sizes = [(name, (inside / name).stat().st_size) for name in ("00changelog.i", "00manifest.i")]
    (inside / "journal").write_text("".join(f"{name}\0{size}\n" for name, size in sizes))
    (inside / "journal.backupfiles").write_text("2\n")
    for name, _ in sizes:
        with (inside / name).open("ab") as file:
            file.write(os.urandom(64))


@pytest.mark.parametrize("first", [["log"], ["status"], ["verify"]], ids=" ".join)
def test_an_abandoned_transaction_heals_unasked(
    pacha: Pacha, live: Path, tmp_path: Path, first: list[str]
) -> None:
    before = [revision["id"] for revision in pacha.ok("log", "-n", "0")["revisions"]]
    abandon(pacha.store)
    result = pacha.run(*first)
    assert result.code == 0, result
    assert "Traceback" not in result.err
    (live / "file").write_text("three\n")
    capture(pacha)
    after = [revision["id"] for revision in pacha.ok("log", "-n", "0")["revisions"]]
    assert after[1:] == before
    assert StoreCopy(pacha.store, tmp_path / "copy").complaints() == []


def flip(path: Path, offset: int) -> None:
    """Turn one bit of a file around."""
    content = bytearray(path.read_bytes())
    content[offset % len(content)] ^= 0x40
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "changelog truncated": lambda hg: os.truncate(hg / "store/00changelog.i", 10),
    "changelog gone": lambda hg: (hg / "store/00changelog.i").unlink(),
    "changelog data gone": lambda hg: (hg / "store/00changelog.d").unlink(),
    "changelog flipped": lambda hg: flip(hg / "store/00changelog.i", 200),
    "changelog header flipped": lambda hg: flip(hg / "store/00changelog.i", 3),
    "manifest gone": lambda hg: (hg / "store/00manifest.i").unlink(),
    "manifest truncated": lambda hg: os.truncate(hg / "store/00manifest.i", 70),
    "manifest flipped": lambda hg: flip(hg / "store/00manifest.i", 200),
    "files gone": lambda hg: shutil.rmtree(hg / "store/data"),
    "one file flipped": lambda hg: flip(next((hg / "store/data/files").rglob("other.d")), 1000),
    "list of files gone": lambda hg: (hg / "store/fncache").unlink(),
    "requirements gone": lambda hg: (hg / "requires").unlink(),
    "store requirements gone": lambda hg: (hg / "store/requires").unlink(),
    "all gone": shutil.rmtree,
}


@pytest.mark.parametrize("how", DAMAGE)
def test_verify_finds_any_damage(pacha: Pacha, live: Path, how: str) -> None:
    assert pacha.run("verify").code == 0
    DAMAGE[how](pacha.store / ".hg")
    result = pacha.run("verify")
    assert result.code == 4, result
    assert "sound" not in result.out
    assert "Traceback" not in result.err


@pytest.mark.parametrize("how", DAMAGE)
def test_no_command_hides_damage_in_a_traceback(pacha: Pacha, live: Path, how: str) -> None:
    (live / "file").write_text("three\n")
    DAMAGE[how](pacha.store / ".hg")
    for args in (["log"], ["diff"], ["capture"]):
        result = pacha.run(*args)
        assert "Traceback" not in result.err, result
        assert result.code in (0, 4) or spoke_plainly(result) == []


@pytest.mark.parametrize("name", ["00changelog.i", "00changelog.d"])
def test_a_flipped_bit_in_the_changelog(pacha: Pacha, live: Path, name: str) -> None:
    first = pacha.ok("log")["revisions"][-1]["id"]
    (live / "file").write_text("three\n")
    inside = pacha.store / ".hg" / "store"
    whole, status = (inside / name).read_bytes(), (inside / name).stat()
    for offset in range(3, len(whole), len(whole) // 4):
        flip(inside / name, offset)
        os.utime(inside / name, ns=(status.st_atime_ns, status.st_mtime_ns))
        flipped = (inside / name).read_bytes()
        for args in (
            ["diff", "--from", first],
            ["log"],
            ["rollback", live, "--to", first, "-n"],
            ["cat", live / "other"],
            ["status"],
            ["verify"],
        ):
            result = pacha.run(*args)
            assert "Traceback" not in result.err, (offset, result)
            if args == ["verify"]:
                assert result.code == 4, (offset, result)
            else:
                assert result.code == 0 or (result.code == 1 and spoke_plainly(result) == []), (
                    offset,
                    result,
                )
        assert (inside / name).read_bytes() == flipped
        assert (live / "file").read_text() == "three\n"
        (inside / name).write_bytes(whole)


@pytest.mark.parametrize("how", ["changelog gone", "requirements gone", "all gone"])
def test_a_lost_history_is_not_silently_begun_anew(pacha: Pacha, live: Path, how: str) -> None:
    (live / "file").write_text("three\n")
    DAMAGE[how](pacha.store / ".hg")
    result = pacha.run("capture", "--json")
    assert result.code != 0, "a new history began over the lost one"
    assert result.json["error"]["message"]
    doctor = pacha.run("doctor")
    assert doctor.code == 4
