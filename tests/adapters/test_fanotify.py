"""Fanotify where it differs from inotify: who wrote, what it refuses, and that it holds nothing open."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.loopfs import LoopFs

from pacha.adapters.events import fanotify
from pacha.adapters.events.fanotify import Fanotify
from pacha.adapters.events.processes import NO_PIDFD, Processes
from pacha.adapters.files.tree import Tree
from pacha.core.events import Event, Unsupported
from pacha.core.who import Who
from tests import needs

pytestmark = needs.root
SOURCE = str(Path(fanotify.__file__).parents[3])


class Asked:
    """In place of Processes: remembers what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int | None]] = []
        self.pids: list[int] = []

    def who(self, pid: int, pidfd: int | None) -> Who:
        self.calls.append((pid, pidfd))
        if pidfd is not None and pidfd >= 0:
            lines = Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines()
            self.pids += [int(line.split()[1]) for line in lines if line.startswith("Pid:")]
        return Who(pid, "", "", "", "")


@pytest.fixture
def asked() -> Asked:
    return Asked()


def mark(source: Fanotify, path: Path | bytes) -> None:
    with Tree(b"/").directory(os.fsencode(path)) as directory:
        source.add(directory)


@pytest.fixture
def source(asked: Asked, arena: Path) -> Iterator[Fanotify]:
    """The arena is marked."""
    with contextlib.closing(Fanotify(b"/", asked.who)) as made:
        try:
            mark(made, arena)
        except Unsupported as reason:
            pytest.skip(str(reason))
        yield made


def write(path: Path) -> int:
    """Let another process make a file; its pid."""
    child = subprocess.Popen(["touch", path])
    assert child.wait() == 0
    return child.pid


def test_it_asks_for_the_writer(source: Fanotify, asked: Asked, arena: Path) -> None:
    (arena / "mine").touch()
    events = source.read()
    assert asked.calls[0][0] == os.getpid()
    assert asked.pids == [os.getpid()]
    assert [(event.path, event.who and event.who.pid) for event in events] == [
        (os.fsencode(arena / "mine"), os.getpid())
    ]


def test_a_writer_that_has_ended(source: Fanotify, asked: Asked, arena: Path) -> None:
    pid = write(arena / "file")
    source.read()
    assert asked.calls == [(pid, NO_PIDFD)]


def test_one_event_for_each_writer(source: Fanotify, arena: Path) -> None:
    """Of one path; in the order in which they came first."""
    (arena / "file").touch()
    pid = write(arena / "file")
    (arena / "file").chmod(0o600)
    pids = [event.who and event.who.pid for event in source.read()]
    assert pids == [os.getpid(), pid]


def test_one_process_is_looked_up_once(source: Fanotify, asked: Asked, arena: Path) -> None:
    for at in range(50):
        (arena / f"file{at}").touch()
    assert len(source.read()) == 50
    assert len(asked.calls) == 1


def test_no_pidfd_is_left_by_an_error(arena: Path) -> None:
    def fail(pid: int, pidfd: int | None) -> Who:
        raise RuntimeError

    with contextlib.closing(Fanotify(b"/", fail)) as source:
        mark(source, arena)
        before = os.listdir("/proc/self/fd")
        for at in range(50):
            (arena / f"file{at}").touch()
        with pytest.raises(RuntimeError):
            source.read()
        assert os.listdir("/proc/self/fd") == before


def test_a_kernel_without_pidfds(asked: Asked, arena: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 5.15: the writer is looked up by its number."""
    real = fanotify._init

    def init(flags: int, event_flags: int) -> int:
        if flags & fanotify._REPORT_PIDFD:
            ctypes.set_errno(errno.EINVAL)
            return -1
        return real(flags, event_flags)

    monkeypatch.setattr(fanotify, "_init", init)
    with contextlib.closing(Fanotify(b"/", asked.who)) as source:
        mark(source, arena)
        (arena / "file").touch()
        assert len(source.read()) == 1
    assert asked.calls == [(os.getpid(), None)]
    with (
        contextlib.closing(Processes()) as processes,
        contextlib.closing(Fanotify(b"/", processes.who)) as source,
    ):
        mark(source, arena)
        (arena / "file").touch()
        (event,) = source.read()
    assert event.who is not None
    assert event.who.pid == os.getpid()


def refusing(number: int) -> Callable[..., int]:
    def call(*_: object) -> int:
        ctypes.set_errno(number)
        return -1

    return call


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EINVAL, "5.9"),
        (errno.EPERM, "root"),
        (errno.ENOSYS, "no fanotify"),
        (errno.EMFILE, r"fs\.fanotify\.max_user_instances"),
        (errno.ENOMEM, "memory"),
    ],
)
def test_refused_by_the_kernel(number: int, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanotify, "_init", refusing(number))
    with pytest.raises(Unsupported, match=reason):
        Fanotify(b"/", Asked().who)


@pytest.mark.parametrize("number", [errno.EPERM, errno.ESTALE, errno.EOPNOTSUPP])
def test_handles_that_can_not_be_opened(number: int, arena: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanotify, "_open_by_handle", refusing(number))
    with (
        contextlib.closing(Fanotify(b"/", Asked().who)) as source,
        pytest.raises(Unsupported, match="handles"),
    ):
        mark(source, arena)


OTHERWISE = """
import sys
sys.path.insert(0, sys.argv[1])
from pacha.adapters.events.fanotify import Fanotify
from pacha.adapters.files.tree import Tree
from pacha.core.events import Unsupported
try:
    source = Fanotify(b"/", lambda pid, pidfd: None)
    with Tree(b"/").directory(sys.argv[2].encode()) as directory:
        source.add(directory)
except Unsupported as reason:
    print(reason)
"""


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (["--reuid", "65534", "--clear-groups"], "only root may use fanotify"),
        (["--bounding-set", "-dac_read_search"], "CAP_DAC_READ_SEARCH"),
    ],
    ids=["nobody", "root in a container"],
)
def test_without_rights(how: list[str], reason: str, open_arena: Path) -> None:
    """The interpreter and the source must be readable to anybody, so they are copied."""
    shutil.copytree(os.path.join(SOURCE, "pacha"), open_arena / "src/pacha")
    (open_arena / "code.py").write_text(OTHERWISE)
    code = "import os, sys; os.execvp('setpriv', sys.argv[1:])"
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
    argv = ["setpriv", *how, python, "-I", open_arena / "code.py", open_arena / "src", open_arena]
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True)
    if done.returncode != 0 and "Permission denied" in done.stderr:
        pytest.skip("nobody may run this Python")
    assert reason in done.stdout, done.stderr


def test_the_place_by_which_it_looks_may_go(source: Fanotify, arena: Path) -> None:
    """Directories are found by others that are marked; what is above those does as well."""
    for name in ("a/b", "c"):
        (arena / name).mkdir(parents=True)
    for name in ("a", "a/b", "c"):
        mark(source, arena / name)
    source.read()
    (arena / "c").rmdir()
    (arena / "a/b/file").touch()
    assert {event.path for event in source.read()} == {
        os.fsencode(arena / name) for name in ("c", "a/b/file")
    }


def test_a_name_that_looks_removed(source: Fanotify, arena: Path) -> None:
    (arena / "x (deleted)").mkdir()
    mark(source, arena / "x (deleted)")
    source.read()
    (arena / "x (deleted)/file").touch()
    assert [event.path for event in source.read()] == [os.fsencode(arena / "x (deleted)/file")]


def test_moved_directory_has_not_left_its_new_place(source: Fanotify, arena: Path) -> None:
    """What the kernel tells of a moved directory itself comes with its new path."""
    (arena / "a").mkdir()
    mark(source, arena / "a")
    source.read()
    (arena / "a").rename(arena / "b")
    told = {event.path: (event.appeared, event.left) for event in source.read()}
    assert told == {os.fsencode(arena / "a"): (False, True), os.fsencode(arena / "b"): (True, False)}


COPIES = """
import os, subprocess, sys
sys.path.insert(0, sys.argv[1])
from pacha.adapters.events.fanotify import Fanotify
from pacha.adapters.files.tree import Tree
from pacha.core.events import Unsupported
top = sys.argv[2].encode()
def run(*command):
    subprocess.run(command, check=True)
def mark(path):
    with Tree(b"/").directory(path) as directory:
        source.add(directory)
source = Fanotify(b"/", lambda pid, pidfd: None)
for name in (b"one", b"two"):
    os.mkdir(top + b"/" + name)
    run("mount", "-o", "loop", top + b"/" + name + b".img", top + b"/" + name)
mark(top + b"/one")
try:
    mark(top + b"/two")
except Unsupported as reason:
    assert "same id" in str(reason)
else:
    raise AssertionError("whose event it is could not be told")
open(top + b"/one/file", "w").close()
assert [event.path for event in source.read()] == [top + b"/one/file"]
run("umount", top + b"/one")
mark(top + b"/two")
open(top + b"/two/file", "w").close()
assert [event.path for event in source.read()] == [top + b"/two/file"]
run("umount", top + b"/two")
"""


@needs.loop
def test_a_disk_and_its_copy(arena: Path) -> None:
    """Handles of both look the same, so that only one of them can be marked at a time."""
    LoopFs(arena / "one.img", arena / "made", 16)
    shutil.copy(arena / "one.img", arena / "two.img")
    command = ["unshare", "-m", sys.executable, "-c", COPIES, SOURCE, str(arena)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_overflow_is_told_in_its_place(source: Fanotify, asked: Asked) -> None:
    """The event has neither a path nor a writer."""
    overflow = fanotify._METADATA.pack(24, 3, 0, 24, fanotify._OVERFLOW, -1, 0)
    (heard,) = fanotify._parsed(overflow, [None])
    assert source._merged([heard, heard]) == [Event(None)]
