"""One path that is by turns a file, a folder, a link, a fifo, a socket and nothing: back and forth in all directions."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.command import Pacha
from tests.oracle import compare, save_twin
from tests.steps import capture, pending, watch_first

from tests import needs

pytestmark = needs.tools


def _folder(path: Path) -> None:
    (path / "sub").mkdir(parents=True)
    (path / "inside").write_text("inside\n")
    (path / "sub" / "deep").write_text("deep\n")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(path.parent, os.O_PATH)
        server.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)


KINDS: dict[str, Callable[[Path], object]] = {
    "file": lambda path: path.write_text("a file\n"),
    "folder": _folder,
    "link": lambda path: path.symlink_to("/etc/passwd"),
    "link to a folder outside": lambda path: path.symlink_to(path.parent.parent / "outside"),
    "fifo": os.mkfifo,
    "hard link": lambda path: os.link(path.parent / "base", path),
    "socket": _socket,
    "nothing": lambda path: None,
}


def remove(path: Path) -> None:
    """Take whatever is there away."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@pytest.fixture
def outside(arena: Path) -> Path:
    folder = arena / "outside"
    folder.mkdir()
    (folder / "inside").write_text("not Pacha's business\n")
    return folder


@pytest.mark.parametrize("first", ["file", "folder", "link to a folder outside", "nothing"])
def test_from_one_kind_to_every_other(pacha: Pacha, arena: Path, outside: Path, first: str) -> None:
    live = arena / "live"
    live.mkdir()
    (live / "base").write_text("base\n")
    KINDS[first](live / "x")
    start = watch_first(pacha, live)
    save_twin(live, arena / "twin")
    for second, make in KINDS.items():
        if second != first:
            remove(live / "x")
            make(live / "x")
            pacha.ok("rollback", live, "--to", start, "-y")
            assert compare(arena / "twin", live) == [], f"{second} → {first}"
    assert sorted(os.listdir(outside)) == ["inside"]
    assert (outside / "inside").read_text() == "not Pacha's business\n"


@pytest.mark.parametrize(("first", "second"), [("folder", "link to a folder outside"), ("file", "folder")])
def test_there_and_back(pacha: Pacha, arena: Path, outside: Path, first: str, second: str) -> None:
    live = arena / "live"
    live.mkdir()
    made: dict[str, str] = {}
    KINDS[first](live / "x")
    made[first] = watch_first(pacha, live)
    save_twin(live, arena / first)
    remove(live / "x")
    KINDS[second](live / "x")
    made[second] = capture(pacha)
    save_twin(live, arena / second)
    for kind in itertools.islice(itertools.cycle((first, second)), 4):
        pacha.ok("rollback", live, "--to", made[kind], "-y")
        assert compare(arena / kind, live) == [], kind
    assert (outside / "inside").read_text() == "not Pacha's business\n"


def test_a_fifo_never_blocks(pacha: Pacha, arena: Path) -> None:
    live = arena / "live"
    live.mkdir()
    os.mkfifo(live / "fifo")
    watch_first(pacha, live)
    assert pacha.run("verify").code == 0
    assert pacha.run("diff").code == 0
    assert pacha.run("cat", live / "fifo").code == 2


@needs.root
def test_devices_are_metadata_only(pacha: Pacha, arena: Path) -> None:
    live = arena / "live"
    live.mkdir()
    os.mknod(live / "zero", 0o020640, os.makedev(1, 5))
    start = watch_first(pacha, live)
    save_twin(live, arena / "twin")
    (live / "zero").unlink()
    pacha.ok("rollback", live, "--to", start, "-y")
    assert compare(arena / "twin", live) == []
    told = pacha.run("cat", live / "zero")
    assert told.code == 2
    assert "device" in told.err


def test_a_touched_file_is_no_change(pacha: Pacha, arena: Path) -> None:
    live = arena / "live"
    live.mkdir()
    (live / "file").write_text("text\n")
    watch_first(pacha, live)
    os.utime(live / "file")
    assert pending(pacha) == []
    assert pacha.ok("capture")["revision"] is None


def test_a_same_size_edit_with_the_time_put_back_is_seen(pacha: Pacha, arena: Path) -> None:
    live = arena / "live"
    live.mkdir()
    file = live / "file"
    file.write_text("AAAA\n")
    watch_first(pacha, live)
    before = file.stat()
    with file.open("r+") as opened:
        opened.write("BBBB\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert pending(pacha) == [("modified", str(file))]
    capture(pacha)
    assert pacha.run("cat", file).out == "BBBB\n"


@needs.root
def test_metadata_alone_is_a_revision(pacha: Pacha, arena: Path) -> None:
    live = arena / "live"
    live.mkdir()
    file = live / "file"
    file.write_text("x\n")
    start = watch_first(pacha, live)
    save_twin(live, arena / "twin")
    for damage in (
        ["chmod", "4711", file],
        ["chown", "1:1", file],
        ["setfattr", "-n", "user.x", "-v", "y", file],
        ["setfacl", "-m", "u:2:r", file],
        ["chattr", "+i", file],
    ):
        subprocess.run([*map(str, damage)], check=True)
        changed = pacha.ok("capture")["changed"]
        assert changed == [{"path": str(file), "change": "metadata"}], damage
    subprocess.run(["chattr", "-i", str(file)], check=True)
    pacha.ok("rollback", live, "--to", start, "-y")
    assert compare(arena / "twin", live) == []
