"""The index: rows as they were written, damage and other formats thrown away, many processes at once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacha.adapters.index import FORMAT, Index
from pacha.core.errors import ReadOnly
from pacha.core.normalize import Normal
from pacha.core.tracked import Row


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite"


@pytest.fixture
def index(path: Path) -> Iterator[Index]:
    made = Index(str(path))
    yield made
    made.close()


def row(directory: bytes, name: bytes, inode: bytes | None = None, line: bytes = b"line") -> Row:
    return Row(directory, name, b"signature", inode, line)


def test_rows_come_back(index: Index) -> None:
    rows = [row(b"/etc", b"\xff\n\0%", b"1:2"), row(b"/etc", b"."), row(b"/", b"etc")]
    index.change(rows=rows)
    assert index.rows(b"/etc") == {b"\xff\n\0%": rows[0], b".": rows[1]}
    assert index.row(b"/", b"etc") == rows[2]
    assert index.row(b"/", b"none") is None
    assert index.count() == 3


def test_a_change_replaces_and_removes(index: Index) -> None:
    index.change(rows=[row(b"/a", b"x"), row(b"/a", b"y")])
    index.change(rows=[row(b"/a", b"x", line=b"new")], removed=[(b"/a", b"y"), (b"/a", b"none")])
    assert index.rows(b"/a") == {b"x": row(b"/a", b"x", line=b"new")}


def test_what_is_removed_and_added_at_once_is_there(index: Index) -> None:
    index.change(rows=[row(b"/a", b"x")])
    index.change(rows=[row(b"/a", b"x", line=b"new")], removed=[(b"/a", b"x")])
    assert index.rows(b"/a")[b"x"].line == b"new"


def test_directories_at_and_below_a_path(index: Index) -> None:
    there = [b"/", b"/a", b"/a/b", b"/a/b/c", b"/a-", b"/a.d", b"/a0", b"/ab", b"/a/\xff\xff", b"/A"]
    index.change(rows=[row(directory, b".") for directory in there])
    assert index.directories(b"/a") == [b"/a", b"/a/b", b"/a/b/c", b"/a/\xff\xff"]
    assert index.directories(b"/") == sorted(there)
    assert index.directories(b"/a/b/c") == [b"/a/b/c"]
    assert index.directories(b"/none") == []


def test_names_of_one_inode(index: Index) -> None:
    rows = [row(b"/a", b"x", b"1:2"), row(b"/b", b"y", b"1:2"), row(b"/b", b"z", b"1:3"), row(b"/b", b"w")]
    index.change(rows=rows)
    assert sorted(index.links(b"1:2")) == rows[:2]
    assert index.links(b"9:9") == []


def test_values_paces_and_what_was_skipped(index: Index) -> None:
    index.change(
        values={"tip": b"\0\xff"}, paces={b"/a": "1 0"}, skipped={b"/z": "unreadable", b"/b": "torn"}
    )
    assert index.get("tip") == b"\0\xff"
    assert index.get("none") is None
    assert index.paces() == {b"/a": "1 0"}
    assert list(index.skipped().items()) == [(b"/b", "torn"), (b"/z", "unreadable")]
    index.change(values={"tip": b"x"}, paces={b"/a": "2"}, skipped={b"/b": None, b"/none": None})
    assert (index.get("tip"), index.paces(), index.skipped()) == (b"x", {b"/a": "2"}, {b"/z": "unreadable"})


def test_what_contents_come_to(index: Index) -> None:
    one, other = Normal(b"1", b"r", b"d"), Normal(b"2", b"r", b"d")
    index.change(normals={b"/a\xff": one, b"/b": one})
    index.change(normals={b"/a\xff": other, b"/b": None, b"/none": None})
    assert (index.normal(b"/a\xff"), index.normal(b"/b"), index.normal(b"/none")) == (other, None, None)
    index.replace([], {})
    assert index.normal(b"/a\xff") is None


def test_a_cold_start_forgets_everything_else(index: Index, path: Path) -> None:
    index.change(rows=[row(b"/a", b"x")], values={"tip": b"x"}, skipped={b"/b": "torn"})
    index.replace([row(b"/c", b"y")], {"machine": b"m"})
    assert (index.count(), index.get("tip"), index.get("machine")) == (1, None, b"m")
    assert index.skipped() == {}
    index.close()
    again = Index(str(path))
    assert again.rows(b"/c") == {b"y": row(b"/c", b"y")}
    again.close()


def test_a_change_that_fails_changes_nothing(index: Index) -> None:
    index.change(rows=[row(b"/a", b"x")], values={"tip": b"old"})

    def broken() -> Iterator[Row]:
        yield row(b"/a", b"y")
        raise KeyError

    with pytest.raises(KeyError):
        index.change(rows=broken(), removed=[(b"/a", b"x")], values={"tip": b"new"})
    assert (list(index.rows(b"/a")), index.get("tip")) == ([b"x"], b"old")


DAMAGES = {
    "no database": lambda data: b"this is no database, whatever it may be called " * 100,
    "zeros": lambda data: bytes(len(data)),
    "a head that is not there": lambda data: bytes(100) + data[100:],
    "cut short": lambda data: data[: len(data) // 2 + 100],
    "a schema overwritten": lambda data: data[:100] + b"\xff" * 3000 + data[3100:],
    "every page but the first": lambda data: data[:4096] + os.urandom(len(data) - 4096),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_thrown_away(path: Path, damage: str) -> None:
    first = Index(str(path))
    first.change(
        rows=[row(b"/a", b"%d" % number, line=b"l" * 300) for number in range(300)], values={"tip": b"x"}
    )
    first.close()
    assert not path.with_name(path.name + "-wal").exists()
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    index = Index(str(path))
    assert index.rows(b"/a") == {}
    index.change(rows=[row(b"/b", b"new")])
    assert index.rows(b"/b") == {b"new": row(b"/b", b"new")}
    assert index.count() == 1
    index.close()


def test_damage_while_it_is_open_is_survived(index: Index, path: Path) -> None:
    index.change(rows=[row(b"/a", b"x")])
    index.close()
    path.write_bytes(b"junk" * 2000)
    index.change(rows=[row(b"/b", b"y")])
    assert index.count() == 1


def other_format(path: Path, script: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.executescript(script)
    connection.close()


@pytest.mark.parametrize(
    "script",
    [
        "UPDATE state SET value = '0' WHERE key = 'format'",
        "UPDATE state SET value = x'ff' WHERE key = 'format'",
        "UPDATE state SET value = '0' WHERE key = 'format'; ALTER TABLE skipped ADD COLUMN more TEXT",
        "UPDATE state SET value = '0' WHERE key = 'format'; DROP TABLE paces; CREATE TABLE paces (other TEXT)",
        "UPDATE state SET value = '0' WHERE key = 'format'; DROP TABLE entries; CREATE TABLE entries (path BLOB)",
        "DROP TABLE state; CREATE TABLE state (name TEXT PRIMARY KEY, content BLOB)",
    ],
)  # fmt: skip
def test_another_format_is_thrown_away(path: Path, script: str) -> None:
    first = Index(str(path))
    first.change(rows=[row(b"/a", b"x")], skipped={b"/x": "torn"})
    first.close()
    other_format(path, script)
    index = Index(str(path))
    assert index.count() == 0
    assert index.skipped() == {}
    assert index.paces() == {}
    index.change(rows=[row(b"/b", b"new")])
    assert index.get("format") in (FORMAT, FORMAT.encode())
    index.close()


def test_a_folder_in_its_place_is_thrown_away(path: Path) -> None:
    (path / "sub").mkdir(parents=True)
    index = Index(str(path))
    assert index.count() == 0
    index.change(rows=[row(b"/a", b"x")])
    index.close()
    assert path.is_file()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReadOnly, match="cannot write the index"):
        Index(str(tmp_path / "nowhere" / "index")).count()


def test_a_deleted_file_is_an_empty_index(index: Index, path: Path) -> None:
    index.change(rows=[row(b"/a", b"x")])
    index.close()
    path.unlink()
    assert index.count() == 0


WRITER = """
import sys
import threading
import time
from pacha.adapters.index import Index
from pacha.core.tracked import Row
number, rounds = int(sys.argv[2]), 20
print("ready", flush=True)
sys.stdin.readline()
index = Index(sys.argv[1])
for n in range(rounds):
    index.change(rows=[Row(b"/%d" % number, b"%d" % n, b"", None, b"line")], values={"tip": b"%d" % number})
    assert len(index.rows(b"/%d" % number)) == n + 1, "a row of mine is gone"
index.close()
"""


@pytest.mark.parametrize("existing", [True, False])
def test_several_processes_lose_nothing(path: Path, existing: bool) -> None:
    if existing:
        first = Index(str(path))
        first.change(values={"tip": b""})
        first.close()
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(number)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(4)
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    said = []
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    said = [writer.communicate(timeout=60)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4, said
    index = Index(str(path))
    assert index.count() == 80
    index.close()


def test_a_reader_is_not_held_up_by_a_writer(index: Index, path: Path) -> None:
    index.change(rows=[row(b"/a", b"x")])
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM entries")
        assert index.count() == 1
        other.execute("ROLLBACK")
    other.close()


def test_two_that_open_a_new_file_at_once_do_not_throw_it_away(path: Path) -> None:
    first = Index(str(path))
    first.change(rows=[row(b"/a", b"x")])
    first.close()
    found: list[int] = []

    def open_too() -> None:
        second = Index(str(path))
        found.append(second.count())
        second.close()

    with sqlite3.connect(path, isolation_level=None) as other:
        # One that has made the file, and is about to write which format it has.
        other.execute("DELETE FROM state")
        other.execute("BEGIN IMMEDIATE")
        later = threading.Thread(target=open_too)
        later.start()
        time.sleep(0.3)
        other.execute("INSERT INTO state VALUES ('format', ?)", (FORMAT,))
        other.execute("COMMIT")
        later.join()
    other.close()
    assert found == [1]
