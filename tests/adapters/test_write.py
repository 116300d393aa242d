"""Writing: what is made has everything before it can be seen, takes its place at once, or leaves no trace."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacha.adapters.files.tree import Directory, Tree
from pacha.adapters.files.write import Workbench, temporary_name
from pacha.core.acl import to_words
from pacha.core.entry import Entry
from pacha.core.rules import is_temporary
from tests import needs

ME = {"uid": os.getuid(), "user": b"", "gid": os.getgid(), "group": b""}


def entry(kind: bytes, mode: int = 0o644, **more: object) -> Entry:
    base = Entry(kind, mode, **ME, mtime=None if kind == b"dir" else 1_234_567_890)  # type: ignore[arg-type]
    return base._replace(**more)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Directory]:
    (tmp_path / "here").mkdir()
    with Tree(b"/").directory(os.fsencode(tmp_path / "here")) as directory:
        yield directory


@pytest.fixture
def bench(place: Directory) -> Workbench:
    return Tree(b"/").workbench(place)


def reread(place: Directory, name: bytes, limit: int = 10**9) -> Entry:
    """The entry as the reader has it."""
    if stat.S_ISDIR(os.lstat(os.path.join(place.path, name)).st_mode):
        with place.child(name) as child:
            found = child.read_self().entry
    else:
        status = place.lstat(name)
        assert status is not None
        found = place.read(name, status, limit).entry
    return found._replace(user=b"", group=b"", sha256=None)


MADE = [
    entry(b"file", 0o4750),
    entry(b"file", 0o000, xattrs=((b"user.a", b"\0"), (b"user.b", b""))),
    entry(b"file", mtime=-1_500_000_001),
    entry(b"dir", 0o1777),
    entry(b"symlink", 0o777, target=b"\xff/../x\n"),
    entry(b"fifo", 0o622),
    entry(b"socket", 0o600),
    entry(b"file", 0o664, acl=b"u::rw-,u:4242/:r--,g::rw-,m::rw-,o::r--"),
    entry(b"dir", 0o755, default_acl=b"u::rwx,u:4242/:r-x,g::r-x,m::r-x,o::---"),
]
ROOTS = [
    entry(b"char", 0o666, device=(1, 3)),
    entry(b"block", 0o600, device=(7, 70_000)),
    entry(b"file", 0o6711, uid=1234, gid=4321),
    entry(b"symlink", 0o777, uid=1234, gid=4321, target=b"x", xattrs=((b"trusted.note", b"x"),)),
    entry(b"file", 0o755, uid=1234, xattrs=((b"security.capability", bytes.fromhex("0100000200040000000000000000000000000000")),)),
]  # fmt: skip


@pytest.mark.parametrize("wanted", [*MADE, *[pytest.param(made, marks=needs.root) for made in ROOTS]])
def test_whatever_is_made_reads_as_it_was_meant(place: Directory, bench: Workbench, wanted: Entry) -> None:
    before = os.umask(0o077)
    try:
        name = bench.make(wanted, b"content" if wanted.kind == b"file" else None)
    finally:
        os.umask(before)
    assert is_temporary(name)
    assert place.names() == [name]
    assert reread(place, name) == wanted
    bench.place(name, b"x")
    assert place.names() == [b"x"]
    assert reread(place, b"x") == wanted


holes = st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 20_000)), max_size=4).map(
    lambda found: tuple(sorted(found))
)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 50_000), st.lists(st.integers(0, 49_999), max_size=4), holes)
def test_content_comes_back_whatever_its_holes(
    tmp_path_factory: pytest.TempPathFactory, size: int, at: list[int], claimed: tuple[tuple[int, int], ...]
) -> None:
    data = bytearray(size)
    for position in at:
        if position < size:
            data[position] = 0x41
    folder = tmp_path_factory.mktemp("holes", numbered=True)
    with Tree(b"/").directory(os.fsencode(folder)) as place:
        name = Tree(b"/").workbench(place).make(entry(b"file", holes=claimed), bytes(data))
        assert (folder / os.fsdecode(name)).read_bytes() == bytes(data)


def test_what_cannot_be_made_leaves_nothing(place: Directory, bench: Workbench) -> None:
    for broken in (
        entry(b"file", xattrs=((b"nowhere.key", b"x"),)),
        entry(b"symlink", target=b""),
        entry(b"block"),
        entry(b"symlink", 0o777, target=b"x", xattrs=((b"user.a", b"not on a link"),)),
    ):
        with pytest.raises(OSError):
            bench.make(broken, None)
        assert place.names() == []


@pytest.mark.parametrize("words", [b"junk", b"u::rw-,u:99999999999/x:rw-", b""])
def test_what_has_a_malformed_list_leaves_nothing(place: Directory, bench: Workbench, words: bytes) -> None:
    with pytest.raises((OSError, ValueError)):
        bench.make(entry(b"file", acl=words), b"")
    assert place.names() == []


def put(path: str, kind: str) -> None:
    """Something in the way."""
    if kind == "file":
        Path(path).write_text("old")
    elif kind == "dir":
        os.mkdir(path)
    elif kind == "symlink":
        os.symlink("old", path)


@pytest.mark.parametrize("old", ["nothing", "file", "dir", "symlink"])
@pytest.mark.parametrize(
    "new", [entry(b"file"), entry(b"dir", 0o700), entry(b"symlink", 0o777, target=b"new")], ids=lambda e: e.kind.decode()
)  # fmt: skip
def test_anything_takes_the_place_of_anything(
    place: Directory, bench: Workbench, old: str, new: Entry
) -> None:
    put(os.fsdecode(place.path) + "/x", old)
    bench.place(bench.make(new, b"new"), b"x")
    assert place.names() == [b"x"]
    assert reread(place, b"x").kind == new.kind


@pytest.mark.parametrize("new", [entry(b"file"), entry(b"dir", 0o700)], ids=lambda e: e.kind.decode())
def test_a_directory_with_something_in_it_is_not_replaced(
    place: Directory, bench: Workbench, new: Entry
) -> None:
    full = Path(os.fsdecode(place.path)) / "x"
    full.mkdir()
    (full / "kept").write_text("kept")
    name = bench.make(new, b"new")
    with pytest.raises(OSError, match="not empty"):
        bench.place(name, b"x")
    assert (full / "kept").read_text() == "kept"
    bench.discard(name)
    bench.discard(name)
    assert place.names() == [b"x"]


def test_another_name_of_a_file_is_made(place: Directory, bench: Workbench) -> None:
    here = Path(os.fsdecode(place.path))
    (here / "a").write_text("a")
    (here / "link").symlink_to("a")
    os.mkfifo(here / "fifo")
    for name in (b"a", b"link", b"fifo"):
        bench.place(bench.make_link(place, name), b"other " + name)
        assert (
            os.lstat(here / os.fsdecode(b"other " + name)).st_ino == os.lstat(here / os.fsdecode(name)).st_ino
        )
    bench.place(bench.make_link(place, b"a"), b"a")
    assert sorted(place.names()) == [b"a", b"fifo", b"link", b"other a", b"other fifo", b"other link"]


def test_metadata_is_given_in_place(place: Directory, bench: Workbench) -> None:
    here = Path(os.fsdecode(place.path))
    (here / "x").write_text("content")
    os.setxattr(here / "x", "user.old", b"x")
    inode = (here / "x").stat().st_ino
    wanted = entry(
        b"file", 0o2640, xattrs=((b"user.new", b"y"),), acl=b"u::rw-,u:4242/:r--,g::r--,m::r--,o::---"
    )
    bench.adjust(b"x", wanted._replace(mode=0o2640))
    assert reread(place, b"x") == wanted
    assert (here / "x").stat().st_ino == inode
    assert (here / "x").read_text() == "content"
    bench.adjust(b"x", entry(b"file", 0o600))
    assert reread(place, b"x") == entry(b"file", 0o600)
    bench.adjust(b".", entry(b"dir", 0o711))
    assert stat.S_IMODE(here.stat().st_mode) == 0o711


def test_another_kind_is_never_adjusted(place: Directory, bench: Workbench, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("outside")
    os.chmod(tmp_path / "secret", 0o600)
    (Path(os.fsdecode(place.path)) / "x").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="replaced"):
        bench.adjust(b"x", entry(b"file", 0o666))
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_an_access_list_survives_its_words(place: Directory, bench: Workbench) -> None:
    name = bench.make(
        entry(b"file", 0o664, acl=b"u::rw-,u:5/:rwx,u:6/:---,g::r--,g:7/:r-x,m::rw-,o::r--"), b""
    )
    raw = os.getxattr(os.path.join(place.path, name), "system.posix_acl_access")
    assert (
        to_words(raw, lambda _: b"", lambda _: b"")
        == b"u::rw-,u:5/:rwx,u:6/:---,g::r--,g:7/:r-x,m::rw-,o::r--"
    )


@needs.root
def test_flags_come_and_go(arena: Path) -> None:
    (arena / "x").touch()
    with Tree(b"/").directory(os.fsencode(arena)) as place:
        bench = Tree(b"/").workbench(place)
        bench.set_flags(b"x", b"i")
        assert reread(place, b"x").flags == b"i"
        bench.set_flags(b"x", b"")
        bench.set_flags(b".", b"a")
        assert place.read_self().entry.flags == b"a"


def test_removal_and_syncing(place: Directory, bench: Workbench) -> None:
    here = Path(os.fsdecode(place.path))
    (here / "x").touch()
    (here / "d").mkdir()
    bench.sync(b"x")
    bench.sync(b"d")
    bench.sync()
    for name in (b"x", b"d", b"none"):
        bench.remove(name)
    assert place.names() == []


def test_temporary_names_are_never_the_same() -> None:
    found = {temporary_name() for _ in range(1000)}
    assert len(found) == 1000
    assert all(map(is_temporary, found))
