"""Mount points inside a watch: not entered unless asked, told, and never mistaken for deletions."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.command import Pacha
from tests.steps import capture, pending, watch_first

from tests import needs

pytestmark = needs.root


@contextmanager
def mounted(at: Path, *options: str) -> Iterator[None]:
    """Something mounted at a path."""
    done = subprocess.run(["mount", *options, str(at)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"can't mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


@pytest.fixture
def live(arena: Path) -> Iterator[Path]:
    """A tree with another file system on `live/other`."""
    tree = arena / "live"
    (tree / "other").mkdir(parents=True)
    (tree / "file").write_text("file\n")
    with ExitStack() as stack:
        stack.enter_context(mounted(tree / "other", "-t", "tmpfs", "none"))
        (tree / "other" / "inside").write_text("inside\n")
        yield tree


def test_another_file_system_is_not_entered_and_told(pacha: Pacha, live: Path) -> None:
    pacha.run("watch", live)
    assert pacha.run("cat", live / "other" / "inside").code == 2
    assert [entry["path"] for entry in pacha.ok("status")["skipped"]] == [str(live / "other")]
    (live / "other" / "inside").write_text("changed\n")
    assert pending(pacha) == []


def test_it_is_entered_when_itself_watched(pacha: Pacha, live: Path) -> None:
    pacha.run("watch", live)
    pacha.ok("watch", live / "other")
    assert pacha.ok("status")["skipped"] == []
    revision = pacha.ok("log")["revisions"][0]["id"]
    (live / "other" / "inside").write_text("changed\n")
    (live / "file").write_text("changed\n")
    pacha.ok("rollback", live, "--to", revision, "-y")
    assert (live / "other" / "inside").read_text() == "inside\n"
    assert (live / "file").read_text() == "file\n"


def test_it_is_entered_when_so_configured(pacha: Pacha, live: Path) -> None:
    pacha.config.write_text("[capture]\ncross_filesystems = true\n")
    watch_first(pacha, live)
    assert pacha.run("cat", live / "other" / "inside").out == "inside\n"
    assert pacha.ok("status")["skipped"] == []


def test_a_mount_over_captured_files_is_no_deletion(pacha: Pacha, arena: Path) -> None:
    live = arena / "live"
    (live / "data").mkdir(parents=True)
    (live / "data" / "file").write_text("below\n")
    first = watch_first(pacha, live)
    with mounted(live / "data", "-t", "tmpfs", "none"):
        assert ("removed", str(live / "data" / "file")) not in pending(pacha)
        pacha.run("capture")
        assert pacha.run("cat", live / "data" / "file").out == "below\n"
        pacha.run("rollback", live, "--to", first, "-y")
        assert not (live / "data" / "file").exists(), "written onto the file system that hides it"
    assert (live / "data" / "file").read_text() == "below\n"
    assert pending(pacha) == []


def test_bind_mounts_of_a_folder_and_a_file(pacha: Pacha, arena: Path) -> None:
    live = arena / "live"
    (live / "bound").mkdir(parents=True)
    (live / "one").write_text("")
    source = arena / "source"
    source.mkdir()
    (source / "file").write_text("source\n")
    with (
        mounted(live / "bound", "--bind", str(source)),
        mounted(live / "one", "--bind", str(source / "file")),
    ):
        first = watch_first(pacha, live)
        (source / "file").write_text("changed\n")
        result = pacha.run("rollback", live, "--to", first, "-y")
        assert result.code in (0, 3), result
        assert "Traceback" not in result.err
        assert pacha.run("verify").code in (0, 3, 4)


def test_a_rollback_reports_what_a_mount_hides(pacha: Pacha, live: Path) -> None:
    pacha.run("watch", live)
    pacha.ok("watch", live / "other")
    first = pacha.ok("log")["revisions"][0]["id"]
    (live / "file").write_text("changed\n")
    capture(pacha)
    subprocess.run(["umount", str(live / "other")], check=True)
    try:
        result = pacha.run("rollback", live, "--to", first, "-y", "--json")
        assert result.code in (0, 3), result
        assert (live / "file").read_text() == "file\n"
    finally:
        subprocess.run(["mount", "-t", "tmpfs", "none", str(live / "other")], check=True)
