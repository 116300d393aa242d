"""On the disk before it is said: the order of writes and syncs of a commit, as the kernel saw them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.adapters.stores import commit, draft, made, mercurial_child

from pacha.adapters.hg.store import Store
from pacha.core.errors import Failed
from tests import needs

pytestmark = needs.strace

COMMIT = """
import os, sys
from pacha.adapters.hg.store import Store
from tests.adapters.stores import commit
store = Store(os.fsencode(sys.argv[1]))
if sys.argv[3] == "censor":
    store.censor(b"files/etc/a")
elif sys.argv[3] == "recover":
    assert store.recover()
else:
    count = int(sys.argv[2])
    commit(store, {b"files/etc/new %d" % n: b"x" * 5000 for n in range(count)} | {b"files/etc/a": b"2"}, 2)
os.write(1, b"acknowledged\\n")
store.close()
"""
CALLS = (
    "fsync,fdatasync,syncfs,write,pwrite64,writev,sendfile,copy_file_range,"
    "rename,renameat,renameat2,unlink,unlinkat,ftruncate"
)
_RESUMED = re.compile(r" *<\.\.\. \w+ resumed>(?P<rest>.*)$")
_LINE = re.compile(r"^\d+ +(?P<call>\w+)\((?P<args>.*)$")


class Call(NamedTuple):
    name: str
    args: str

    def on(self, name: str) -> bool:
        """Whether it concerns the file of this name in the store."""
        return f"/{name}>" in self.args or f'/{name}"' in self.args


def abandon(store: Store) -> None:
    """Kill its Mercurial amidst a commit."""

    def supply(path: bytes) -> bytes:
        deadline = time.monotonic() + 10
        while not store.is_abandoned and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(mercurial_child(), signal.SIGKILL)
        return b""

    with pytest.raises(Failed):
        store.commit(draft({b"files/etc/b": b""}, 2), store.tip(), supply)
    assert store.is_abandoned


def traced(tmp_path: Path, count: int, what: str = "commit") -> list[Call]:
    """The calls of one commit (or what else) to a store that has a revision already, up to its
    acknowledgement.
    """
    store = made(tmp_path / "store")
    commit(store, {b"files/etc/a": b"1"})
    if what == "recover":
        abandon(store)
    store.close()
    log = tmp_path / "log"
    folder = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
    command = [
        "strace",
        "-f",
        "-y",
        "-s",
        "64",
        "-o",
        str(log),
        "-e",
        f"trace={CALLS}",
        sys.executable,
        "-c",
        COMMIT,
    ]
    subprocess.run(
        [*command, str(tmp_path / "store"), str(count), what],
        env={**os.environ, "PYTHONPATH": paths}, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    found = []
    for line in whole(log.read_text().splitlines()):
        if match := _LINE.match(line):
            if match["call"] == "write" and "acknowledged" in match["args"]:
                return found
            if " = -1 " not in match["args"]:
                found.append(Call(match["call"], match["args"]))
    raise AssertionError("the commit was never acknowledged")


def whole(lines: list[str]) -> Iterator[str]:
    """The lines of strace, with those put together that another process's calls came between."""
    begun: dict[str, str] = {}
    for line in lines:
        number, _, said = line.partition(" ")
        if said.endswith(" <unfinished ...>"):
            begun[number] = line.removesuffix(" <unfinished ...>")
        elif match := _RESUMED.match(said):
            yield begun.pop(number) + match["rest"]
        else:
            yield line


def places(calls: list[Call], name: str, *on: str) -> list[int]:
    return [at for at, call in enumerate(calls) if call.name in name.split() and any(map(call.on, on))]


WRITES = "write pwrite64 writev"
SYNCS = "fsync fdatasync"


def unlinked(calls: list[Call]) -> int:
    """When the journal vanished (Mercurial renames it): from then on the transaction can't be undone."""
    (at,) = places(calls, "unlink unlinkat rename renameat renameat2", "journal")
    return at


def shows_changelog(calls: list[Call]) -> int:
    """When the changelog first got the new revision."""
    return min(places(calls, f"{WRITES} rename renameat renameat2", "00changelog.i", "00changelog.i.a"))


def test_data_is_on_the_disk_before_any_revision_can_be_seen(tmp_path: Path) -> None:
    calls = traced(tmp_path, 3)
    seen = shows_changelog(calls)
    for number in range(3):
        name = f"new {number}.i"
        (written,) = places(calls, WRITES, name)
        assert any(written < at < seen for at in places(calls, SYNCS, name)), name
    for name in ("a.i", "00manifest.i", "fncache", "journal"):
        written = max(at for at in places(calls, f"{WRITES} rename renameat", name) if at < seen)
        assert any(written < at < seen for at in places(calls, SYNCS, name)), name
    assert any(at < seen for at in places(calls, SYNCS, "etc")), "the folder of new files"


def test_the_changelog_is_on_the_disk_before_the_journal_vanishes(tmp_path: Path) -> None:
    calls = traced(tmp_path, 1)
    gone = unlinked(calls)
    written = places(calls, f"{WRITES} rename renameat", "00changelog.i")
    synced = places(calls, SYNCS, "00changelog.i")
    assert max(written) < max(synced) < gone


def test_the_journals_end_is_on_the_disk_before_it_is_said(tmp_path: Path) -> None:
    calls = traced(tmp_path, 1)
    synced = [
        at for at, call in enumerate(calls) if call.name in SYNCS.split() and "/.hg/store>" in call.args
    ]
    assert synced
    assert max(synced) > unlinked(calls)


def test_a_large_commit_flushes_the_file_system_at_once(tmp_path: Path) -> None:
    calls = traced(tmp_path, 200)
    seen, gone = shows_changelog(calls), unlinked(calls)
    whole = [at for at, call in enumerate(calls) if call.name == "syncfs"]
    data = [
        at for at, call in enumerate(calls) if call.name in WRITES.split() and "/data/files/" in call.args
    ]
    assert len(data) >= 200
    assert any(max(data) < at < seen for at in whole)
    assert len([call for call in calls if call.name in SYNCS.split()]) < 50
    assert any(seen < at < gone for at in places(calls, SYNCS, "00changelog.i"))


def test_one_change_flushes_its_own_files_alone(tmp_path: Path) -> None:
    assert not [call for call in traced(tmp_path, 0) if call.name == "syncfs"]


@pytest.mark.parametrize("suffix", [".i"])
def test_forgetting_is_on_the_disk_before_it_is_said(tmp_path: Path, suffix: str) -> None:
    calls = traced(tmp_path, 0, "censor")
    placed = [
        at for at, call in enumerate(calls) if call.name.startswith("rename") and f"a{suffix}" in call.args
    ]
    assert placed
    synced = [
        at for at, call in enumerate(calls) if call.name in SYNCS.split() and "/data/files" in call.args
    ]
    assert synced
    assert max(synced) > max(placed)


def test_what_was_undone_is_on_the_disk_before_the_journal_vanishes(tmp_path: Path) -> None:
    calls = traced(tmp_path, 0, "recover")
    gone = min(places(calls, "unlink unlinkat", "journal", "journal.backupfiles"))
    back = places(calls, f"{WRITES} sendfile copy_file_range rename", "fncache")
    assert back
    whole = [at for at, call in enumerate(calls) if call.name == "syncfs"]
    assert any(max(back) < at < gone for at in whole)
    assert any(at > gone for at in whole), "its vanishing"
