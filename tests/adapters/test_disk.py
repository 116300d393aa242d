"""Whole files, replaced: old or new at any instant, private, and on the disk before anybody relies on them."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

from pacha.adapters import disk
from tests import needs

REPLACE = "import sys; from pacha.adapters import disk; disk.replace(sys.argv[1], b'new', durable=sys.argv[2] == 'yes')"


def test_a_file_is_made_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = os.umask(0)
    try:
        disk.replace(str(path), b"one")
    finally:
        os.umask(before)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"one", 0o600)
    with open(path, "rb") as old:
        disk.replace(str(path), b"longer than that", durable=False)
        assert old.read() == b"one"
    assert path.read_bytes() == b"longer than that"
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "file"
    victim.write_bytes(b"untouched")
    path.symlink_to(victim)
    disk.replace(str(path), b"new")
    assert (victim.read_bytes(), path.is_symlink(), path.read_bytes()) == (b"untouched", False, b"new")


def test_what_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    words = [sys.executable, "-c", REPLACE, str(path), "yes"]
    done = subprocess.run(
        words, capture_output=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2, 2))
    )
    assert b"File too large" in done.stderr
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["file"])


@needs.strace
def test_content_name_and_folder_reach_the_disk_in_that_order(tmp_path: Path) -> None:
    calls = _calls(tmp_path, "yes")
    assert [name for name, _ in calls] == ["fsync", "rename", "fsync"]
    (_, content), _, (_, folder) = calls
    assert ".pacha." in content
    assert folder.endswith(f"<{tmp_path}>")


@needs.strace
def test_what_need_not_survive_a_power_cut_waits_for_no_disk(tmp_path: Path) -> None:
    assert [name for name, _ in _calls(tmp_path, "no")] == ["rename"]


def _calls(folder: Path, durable: str) -> list[tuple[str, str]]:
    """(name, arguments) of what the replacement of a file in `folder` asks of the disk, in order."""
    traced = [
        "strace",
        "-f",
        "-y",
        "-e",
        "trace=rename,renameat,renameat2,fsync,fdatasync,syncfs",
        "-o",
        "/dev/stderr",
    ]
    words = [*traced, sys.executable, "-B", "-c", REPLACE, str(folder / "file"), durable]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stderr
    return re.findall(r"^\d+ +(\w+)\((.*?)\) += 0$", told, re.MULTILINE)
