"""Both sources of kernel events, held to the same: what is done in a marked directory is heard, by its path."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pacha.adapters.events import fanotify
from pacha.adapters.events.fanotify import Fanotify
from pacha.adapters.events.inotify import Inotify
from pacha.adapters.files.tree import Tree
from pacha.agent.ports import Source
from pacha.core.events import Event, LimitReached, Unsupported
from tests import needs

HARD_NAMES = [b"new\nline", b"\xff\xfe", b"n" * 255, b" ", b"x (deleted)", b"-rf", b"a\\b", "é€😀".encode()]
KINDS = [
    pytest.param("fanotify", marks=needs.root),
    pytest.param("inotify"),
]


def nobody_asked(pid: int, pidfd: int | None) -> None:
    """In place of Processes.who: here it is of no interest who wrote."""


def make(kind: str, root: bytes = b"/") -> Source:
    return Fanotify(root, nobody_asked) if kind == "fanotify" else Inotify(root)


class World:
    """A folder, and a source that hears of it. Paths are relative to the folder."""

    def __init__(self, source: Source, top: Path) -> None:
        self.source = source
        self.top = os.fsencode(top)
        self.tree = Tree(b"/")

    def path(self, name: bytes = b"") -> bytes:
        return os.path.join(self.top, name) if name else self.top

    def mark(self, name: bytes = b"", *, entries_only: bool = False) -> None:
        with self.tree.directory(self.path(name)) as directory:
            self.source.add(directory, entries_only=entries_only)

    def heard(self) -> dict[bytes, Event]:
        """Everything since the last call: the kernel has it queued when a system call returns."""
        found: dict[bytes, Event] = {}
        while events := self.source.read():
            for event in events:
                assert event.path is not None, "overflow"
                assert event.path.startswith(self.top)
                known = found.setdefault(event.path[len(self.top) + 1 :], event)
                found[event.path[len(self.top) + 1 :]] = Event(
                    event.path,
                    known.is_directory or event.is_directory,
                    known.appeared or event.appeared,
                    known.left or event.left,
                )
        return found

    def write(self, name: bytes, text: bytes = b"text") -> None:
        with open(self.path(name), "wb") as handle:
            handle.write(text)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def world(kind: str, arena: Path) -> Iterator[World]:
    """The folder is marked, with a folder `sub` that is not."""
    with contextlib.closing(make(kind)) as source:
        world = World(source, arena)
        os.mkdir(world.path(b"sub"))
        world.write(b"old")
        try:
            world.mark()
        except Unsupported as reason:
            pytest.skip(f"{kind}: {reason}")
        yield world


def told(events: dict[bytes, Event]) -> dict[bytes, str]:
    """Each path with a letter for what is said of it."""
    return {
        name: "d" * event.is_directory + "+" * event.appeared + "-" * event.left
        for name, event in events.items()
    }


def test_nothing_happened(world: World) -> None:
    assert world.source.read() == []
    assert not select.select([world.source.fileno()], [], [], 0)[0]


def test_is_readable_until_read(world: World) -> None:
    world.write(b"new")
    assert select.select([world.source.fileno()], [], [], 0)[0]
    world.heard()
    assert not select.select([world.source.fileno()], [], [], 0)[0]


def test_create_write_close(world: World) -> None:
    world.write(b"new")
    assert told(world.heard()) == {b"new": "+"}
    world.write(b"new", b"other")
    assert told(world.heard()) == {b"new": ""}


def test_write_is_heard_before_close(world: World) -> None:
    descriptor = os.open(world.path(b"old"), os.O_WRONLY)
    assert world.heard() == {}
    os.write(descriptor, b"x")
    assert told(world.heard()) == {b"old": ""}
    os.close(descriptor)
    assert told(world.heard()) == {b"old": ""}


def test_reading_is_not_heard(world: World) -> None:
    Path(os.fsdecode(world.path(b"old"))).read_bytes()
    os.listdir(world.path())
    os.stat(world.path(b"old"))
    assert world.heard() == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.chmod(path, 0o600),
        lambda path: os.truncate(path, 1),
        lambda path: os.utime(path, (1, 1)),
        lambda path: os.chown(path, os.getuid(), os.getgid()),
    ],
    ids=["chmod", "truncate", "utime", "chown"],
)
def test_change_of_a_file(world: World, change: Callable[[bytes], None]) -> None:
    change(world.path(b"old"))
    assert told(world.heard()) == {b"old": ""}


def test_change_of_the_directory_itself(world: World) -> None:
    os.chmod(world.path(), 0o700)
    assert told(world.heard()) == {b"": "d"}


def test_change_of_a_directory_below(world: World) -> None:
    os.chmod(world.path(b"sub"), 0o700)
    assert told(world.heard()) == {b"sub": "d"}


def test_attribute(world: World) -> None:
    try:
        os.setxattr(world.path(b"old"), "user.x", b"1")
    except OSError:
        pytest.skip("no extended attributes here")
    assert told(world.heard()) == {b"old": ""}


def test_rename_within(world: World) -> None:
    os.rename(world.path(b"old"), world.path(b"new"))
    assert told(world.heard()) == {b"old": "-", b"new": "+"}


def test_replace_by_rename(world: World) -> None:
    world.write(b"old.new")
    world.heard()
    os.rename(world.path(b"old.new"), world.path(b"old"))
    assert told(world.heard()) == {b"old.new": "-", b"old": "+"}


def test_move_in_and_out(world: World) -> None:
    os.rename(world.path(b"old"), world.path(b"sub/old"))
    assert told(world.heard()) == {b"old": "-"}
    os.rename(world.path(b"sub/old"), world.path(b"back"))
    assert told(world.heard()) == {b"back": "+"}


def test_move_of_a_directory(world: World) -> None:
    os.rename(world.path(b"sub"), world.path(b"moved"))
    assert told(world.heard()) == {b"sub": "d-", b"moved": "d+"}


def test_delete(world: World) -> None:
    os.unlink(world.path(b"old"))
    heard = world.heard()
    assert heard[b"old"].left
    assert set(heard) == {b"old"}


def test_make_and_remove_a_directory(world: World) -> None:
    os.mkdir(world.path(b"new"))
    assert told(world.heard()) == {b"new": "d+"}
    os.rmdir(world.path(b"new"))
    assert told(world.heard()) == {b"new": "d-"}


def test_links(world: World) -> None:
    os.symlink("anywhere", world.path(b"soft"))
    os.link(world.path(b"old"), world.path(b"hard"))
    heard = told(world.heard())
    assert heard[b"soft"] == "+"
    assert heard[b"hard"] == "+"


def test_removed_with_everything_in_it(world: World) -> None:
    world.mark(b"sub")
    world.write(b"sub/file")
    world.heard()
    os.unlink(world.path(b"sub/file"))
    os.rmdir(world.path(b"sub"))
    heard = told(world.heard())
    assert heard[b"sub"] == "d-"
    world.source.forget(world.path(b"sub"))
    os.mkdir(world.path(b"sub"))
    world.mark(b"sub")
    world.heard()
    world.write(b"sub/file")
    assert told(world.heard()) == {b"sub/file": "+"}


@pytest.mark.parametrize("name", HARD_NAMES, ids=lambda name: ascii(name[:12]))
def test_hard_names(world: World, name: bytes) -> None:
    world.write(name)
    assert told(world.heard()) == {name: "+"}
    os.mkdir(world.path(name + b"d" if len(name) < 255 else b"d" * 255))
    (directory,) = world.heard()
    world.mark(directory)
    world.write(directory + b"/" + name)
    assert told(world.heard()) == {directory + b"/" + name: "+"}


def test_entries_only(world: World) -> None:
    world.mark(b"sub", entries_only=True)
    world.write(b"sub/file")
    assert told(world.heard()) == {b"sub/file": "+"}
    world.write(b"sub/file", b"other")
    os.chmod(world.path(b"sub/file"), 0o600)
    assert world.heard() == {}
    os.mkdir(world.path(b"sub/deep"))
    os.rename(world.path(b"sub/file"), world.path(b"sub/file2"))
    os.unlink(world.path(b"sub/file2"))
    assert told(world.heard()) == {b"sub/deep": "d+", b"sub/file": "-", b"sub/file2": "+-"}


def test_entries_only_takes_nothing_away(world: World) -> None:
    world.mark(entries_only=True)
    world.write(b"old", b"other")
    os.chmod(world.path(b"old"), 0o600)
    assert told(world.heard()) == {b"old": ""}


def test_all_after_entries_only(world: World) -> None:
    world.mark(b"sub", entries_only=True)
    world.mark(b"sub")
    world.write(b"sub/file")
    world.heard()
    os.chmod(world.path(b"sub/file"), 0o600)
    assert told(world.heard()) == {b"sub/file": ""}


def test_marked_twice_is_told_once(world: World) -> None:
    world.mark()
    world.mark()
    os.chmod(world.path(b"old"), 0o600)
    assert len(world.source.read()) == 1


def test_a_storm_is_told_once(world: World) -> None:
    for at in range(500):
        os.chmod(world.path(b"old"), 0o600 + (at & 1))
        os.utime(world.path(b"sub"), (at, at))
    events = [event for events in iter(world.source.read, []) for event in events]
    assert [event.path for event in events] == [world.path(b"old"), world.path(b"sub")]


def test_moved_directory(world: World, kind: str) -> None:
    """A directory that was moved is heard under its new path: at once, or once it was marked there."""
    os.mkdir(world.path(b"sub/deep"))
    world.mark(b"sub")
    world.mark(b"sub/deep")
    os.rename(world.path(b"sub"), world.path(b"moved"))
    world.heard()
    world.source.forget(world.path(b"sub"))
    if kind == "inotify":
        world.write(b"moved/deep/file")
        assert world.heard() == {}
        world.mark(b"moved")
        world.mark(b"moved/deep")
    world.write(b"moved/file")
    world.write(b"moved/deep/file")
    assert {b"moved/file", b"moved/deep/file"} == set(world.heard())


def test_marked_anew_under_its_new_path(world: World) -> None:
    """Also where nobody said that it had left the old one."""
    world.mark(b"sub")
    os.rename(world.path(b"sub"), world.path(b"moved"))
    world.heard()
    world.mark(b"moved")
    world.source.forget(world.path(b"sub"))
    world.write(b"moved/file")
    assert told(world.heard()) == {b"moved/file": "+"}


@needs.root
def test_renamed_between_mark_and_event(arena: Path) -> None:
    """Its parent need not be marked for that, nor have been there at the time."""
    with contextlib.closing(make("fanotify")) as source:
        world = World(source, arena)
        os.makedirs(world.path(b"a/b"))
        world.mark(b"a/b")
        world.write(b"a/b/file")
        os.rename(world.path(b"a"), world.path(b"c"))
        os.rename(world.path(b"c/b"), world.path(b"d"))
        assert told(world.heard()) == {b"d/file": "+", b"d": "d"}


@needs.root
def test_removed_and_outside_directories_are_silent(arena: Path) -> None:
    (arena / "root").mkdir()
    (arena / "root/sub").mkdir()
    with contextlib.closing(make("fanotify", os.fsencode(arena / "root"))) as source:
        tree = Tree(os.fsencode(arena / "root"))
        with tree.directory(b"/sub") as directory:
            source.add(directory)
        (arena / "root/sub/file").touch()
        (arena / "root/sub").rename(arena / "sub")
        assert source.read() == []
        (arena / "sub/file").unlink()
        held = os.open(arena / "sub", os.O_RDONLY)
        (arena / "sub").rmdir()
        assert source.read() == []
        os.close(held)


def test_another_root(kind: str, arena: Path) -> None:
    root = arena / "to the root"
    (arena / "real/etc").mkdir(parents=True)
    root.symlink_to("real")
    tree = Tree(os.fsencode(root))
    with contextlib.closing(make(kind, os.fsencode(root))) as source:
        for path in (b"/", b"/etc"):
            with tree.directory(path) as directory:
                source.add(directory)
        (root / "etc/hosts").touch()
        (root / "etc").chmod(0o700)
        (root / "top").touch()
        assert [event.path for event in source.read()] == [b"/etc/hosts", b"/etc", b"/top"]


def test_overflow(world: World) -> None:
    """What the queue could not hold is told as lost, and reading it takes several calls."""
    limit = int(Path(f"/proc/sys/fs/{world.source.mode}/max_queued_events").read_text())
    if limit > 50_000:
        pytest.skip("the queue is too long here")
    for at in range(limit + 100):
        os.close(os.open(world.path(b"%d" % at), os.O_CREAT | os.O_WRONLY))
    batches = list(iter(world.source.read, []))
    events = [event for batch in batches for event in batch]
    assert [event for event in events if event.path is None] == [Event(None)]
    assert len(batches) > 1
    assert len(events) > limit / 4
    world.write(b"after")
    assert told(world.heard()) == {b"after": "+"}


def test_no_descriptor_is_left(world: World) -> None:
    """Neither after many events, nor of the watched file system at any time."""
    before = sorted(os.listdir("/proc/self/fd"))
    for at in range(10_000):
        os.utime(world.path(b"old" if at % 2 else b"sub"), (at, at))
        if at % 50 == 0:
            world.heard()
    world.heard()
    assert sorted(os.listdir("/proc/self/fd")) == before
    links = {
        os.readlink(f"/proc/self/fd/{name}") for name in before if os.path.exists(f"/proc/self/fd/{name}")
    }
    assert not {link for link in links if link.startswith(os.fsdecode(world.top))}


def test_a_directory_that_is_gone(world: World) -> None:
    """An open directory that was removed meanwhile is an error of that directory, or is marked to no effect."""
    os.mkdir(world.path(b"gone"))
    with world.tree.directory(world.path(b"gone")) as directory:
        os.rmdir(world.path(b"gone"))
        with contextlib.suppress(OSError):
            world.source.add(directory)
    world.heard()


def test_what_is_no_directory(world: World) -> None:
    class NoDirectory:
        path = world.path(b"old")
        descriptor = os.open(path, os.O_RDONLY)
        stat = os.fstat(descriptor)

    with pytest.raises(NotADirectoryError):
        world.source.add(NoDirectory())
    os.close(NoDirectory.descriptor)


INSIDE = """
import os, subprocess, sys
sys.path.insert(0, sys.argv[1])
from pacha.adapters.events.fanotify import Fanotify
from pacha.adapters.events.inotify import Inotify
from pacha.adapters.files.tree import Tree
from pacha.core.events import Event, LimitReached, Unsupported
kind, top = sys.argv[2], sys.argv[3].encode()
def make():
    return Fanotify(b"/", lambda pid, pidfd: None) if kind == "fanotify" else Inotify(b"/")
def run(*command):
    subprocess.run(command, check=True)
def mark(source, path):
    with Tree(b"/").directory(path) as directory:
        source.add(directory)
def paths(source):
    return {event.path for event in source.read()}
"""


def inside(namespace: list[str], kind: str, top: Path, script: str) -> None:
    """Run a script in namespaces of its own, where it may mount and set limits."""
    command = [
        "unshare",
        *namespace,
        sys.executable,
        "-c",
        INSIDE + script,
        str(Path(fanotify.__file__).parents[3]),
    ]
    probe = subprocess.run(["unshare", *namespace, "true"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip(f"no such namespace here: {probe.stderr.decode()}")
    done = subprocess.run([*command, kind, top], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@needs.root
def test_umount_is_not_in_the_way(kind: str, arena: Path) -> None:
    inside(["-m"], kind, arena, """
source = make()
for turn in range(2):  # mounted again, it is another file system at the same place
    run("mount", "-t", "tmpfs", "pacha-test", top)
    os.mkdir(top + b"/sub")
    mark(source, top)
    mark(source, top + b"/sub")
    open(top + b"/sub/file", "w").close()
    assert paths(source) == {top + b"/sub/file"}, turn
    open(top + b"/sub/late", "w").close()
    run("umount", top)
    source.read()
""")  # fmt: skip


@needs.root
def test_bind_mounts(kind: str, arena: Path) -> None:
    """One file system at several places: each path is right that is told."""
    inside(["-m"], kind, arena, """
for name in (b"fs", b"whole", b"part"):
    os.mkdir(top + b"/" + name)
run("mount", "-t", "tmpfs", "pacha-test", top + b"/fs")
os.makedirs(top + b"/fs/a/b")
os.mkdir(top + b"/fs/c")
run("mount", "--bind", top + b"/fs", top + b"/whole")
run("mount", "--bind", top + b"/fs/a", top + b"/part")
source = make()
for path in (b"/part", b"/part/b", b"/whole/c"):
    mark(source, top + path)
open(top + b"/part/b/file", "w").close()
assert top + b"/part/b/file" in paths(source)
open(top + b"/fs/c/file", "w").close()
assert top + b"/whole/c/file" in paths(source)
run("umount", top + b"/part")
open(top + b"/whole/c/other", "w").close()
assert top + b"/whole/c/other" in paths(source)
""")  # fmt: skip


@needs.root
def test_two_file_systems(kind: str, arena: Path) -> None:
    inside(["-m"], kind, arena, """
for name in (b"one", b"two"):
    os.mkdir(top + b"/" + name)
    run("mount", "-t", "tmpfs", "pacha-test", top + b"/" + name)
source = make()
for path in (b"", b"/one", b"/two"):
    mark(source, top + path)
for path in (b"/one/file", b"/two/file", b"/file"):
    open(top + path, "w").close()
assert paths(source) == {top + b"/one/file", top + b"/two/file", top + b"/file"}
""")  # fmt: skip


@needs.root
def test_overlay(kind: str, arena: Path) -> None:
    """Its handles can't be opened, so that fanotify must refuse it; inotify is for that."""
    inside(["-m"], kind, arena, """
run("mount", "-t", "tmpfs", "pacha-test", top)
for name in (b"lower", b"upper", b"work", b"all"):
    os.mkdir(top + b"/" + name)
os.mkdir(top + b"/lower/sub")
os.chdir(top)
if subprocess.run(["mount", "-t", "overlay", "o", "-o", "lowerdir=lower,upperdir=upper,workdir=work", "all"]).returncode:
    sys.exit(0)
source = make()
try:
    mark(source, top + b"/all/sub")
except Unsupported as reason:
    assert kind == "fanotify" and "handle" in str(reason) or "can't be marked" in str(reason), reason
else:
    open(top + b"/all/sub/file", "w").close()
    assert paths(source) == {top + b"/all/sub/file"}
""")  # fmt: skip


def test_limit_of_inotify(arena: Path) -> None:
    inside(["-U", "-r"], "inotify", arena, """
from pathlib import Path
for name in b"abc":
    os.mkdir(top + b"/%c" % name)
Path("/proc/sys/user/max_inotify_watches").write_text("2")
source = make()
mark(source, top + b"/a")
mark(source, top + b"/b")
mark(source, top + b"/a")
try:
    mark(source, top + b"/c")
except LimitReached as reason:
    assert "fs.inotify.max_user_watches" in str(reason)
else:
    raise AssertionError
open(top + b"/b/file", "w").close()
assert paths(source) == {top + b"/b/file"}
Path("/proc/sys/user/max_inotify_instances").write_text("1")
try:
    make()
except Unsupported as reason:
    assert "fs.inotify.max_user_instances" in str(reason)
else:
    raise AssertionError
""")  # fmt: skip


def refusing(number: int) -> Callable[..., int]:
    """A system call that fails."""

    def call(*_: object) -> int:
        ctypes.set_errno(number)
        return -1

    return call


@needs.root
def test_limit_of_fanotify(arena: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(make("fanotify")) as source:
        world = World(source, arena)
        monkeypatch.setattr(fanotify, "_mark", refusing(errno.ENOSPC))
        with pytest.raises(LimitReached, match=r"fs\.fanotify\.max_user_marks"):
            world.mark()
        for number in (errno.EOPNOTSUPP, errno.EXDEV, errno.ENODEV, errno.EPERM, errno.EINVAL):
            monkeypatch.setattr(fanotify, "_mark", refusing(number))
            with pytest.raises(Unsupported):
                world.mark()
        monkeypatch.setattr(fanotify, "_mark", refusing(errno.ENOMEM))
        with pytest.raises(OSError, match="memory"):
            world.mark()


def test_importing_is_cheap(kind: str) -> None:
    """The idle agent is to stay small: nothing big comes with a source."""
    script = (
        "import os, sys"
        + INSIDE.removeprefix("\nimport os, subprocess, sys")
        + "make().close(); print(*sys.modules)"
    )
    command = [sys.executable, "-I", "-c", script, str(Path(fanotify.__file__).parents[3]), kind, "/"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not {"asyncio", "hashlib", "ssl", "subprocess", "logging", "sqlite3", "random"} & set(
        done.stdout.split()
    )
