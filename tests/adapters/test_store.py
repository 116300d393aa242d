"""The store on a real Mercurial: revisions, their contents, and what differs between them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.adapters.stores import TIME_NS, commit, content, draft, made
from tests.plainhg import StoreCopy
from tests.trees import names

from pacha.adapters.hg.store import Store
from pacha.core.errors import DamagedStore, NotFound, PachaError, ReadOnly
from pacha.core.names import content_path, is_legal

A, B, C = b"files/etc/a", b"files/etc/b", b"files/etcetera/c"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = made(tmp_path / "store")
    yield store
    store.close()


@pytest.fixture
def line(store: Store) -> list[str]:
    """Four revisions: a and b come, a changes, b goes and c comes, b is back as it was."""
    steps: list[dict[bytes, bytes | None]] = [{A: b"1", B: b"b"}, {A: b"2"}, {B: None, C: b"c"}, {B: b"b"}]
    return [commit(store, contents, seq) for seq, contents in enumerate(steps, 1)]


def test_a_store_is_made_once(tmp_path: Path) -> None:
    place = os.fsencode(tmp_path / "deep" / "store")
    with closing(Store(place)) as store:
        assert not store.exists
        assert store.signature() == b""
        assert (store.tip(), list(store.history()), store.files(0)) == ("", [], {})
        store.create()
        assert store.exists
        assert store.tip() == ""
        commit(store, {A: b"1"})
        store.create()
        assert store.tip()
    with closing(Store(place)) as again:
        again.create()
        assert len(list(again.history())) == 1


def test_a_store_is_closed_to_others(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        made(tmp_path / "store").close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700


def test_a_store_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ReadOnly, match="cannot make the store"):
        Store(os.fsencode(tmp_path / "file" / "store")).create()


def test_a_revision_comes_back_as_it_was_drafted(store: Store) -> None:
    wanted = draft({A: b"1", B: b""}, author="Zoë\u2028 <z>", message="Grüße\n\nmore\n  lines: x", seq=7)
    node = store.commit(wanted, "", lambda path: b"")
    (revision,) = store.history()
    assert (revision.node, revision.position, revision.id) == (node, 0, node[:12])
    assert (revision.author, revision.message, revision.stamp) == (
        wanted.author,
        wanted.message,
        wanted.stamp,
    )
    assert revision.files == (A, B)
    assert revision.stamp.time_ns == TIME_NS + 7 * 10**9


@pytest.mark.parametrize("time_ns", [-(10**19), -1, 0, 2**31 * 10**9, 2**33 * 10**9])
def test_any_time_is_kept(store: Store, time_ns: int) -> None:
    stamp = draft({}).stamp._replace(time_ns=time_ns)
    commit(store, {A: b"1"}, stamp=stamp)
    assert store.at(0).stamp.time_ns == time_ns


def test_the_history_is_one_line_newest_first(store: Store, line: list[str]) -> None:
    assert [revision.node for revision in store.history()] == line[::-1]
    assert [revision.position for revision in store.history(newest=2)] == [2, 1, 0]
    assert [revision.position for revision in store.history(limit=2)] == [3, 2]
    assert [revision.position for revision in store.history(newest=1, limit=1)] == [1]
    assert store.tip() == line[-1]


@pytest.mark.parametrize(
    ("prefixes", "positions"),
    [
        ([A], [1, 0]),
        ([B], [3, 2, 0]),
        ([C, A], [2, 1, 0]),
        ([b"files/etc/"], [3, 2, 1, 0]),
        ([b"files/etc"], []),
        ([b"files/etcetera/"], [2]),
        ([b"files/"], [3, 2, 1, 0]),
        ([b"files/none", b"meta/"], []),
    ],
)
def test_the_history_of_some_paths(
    store: Store, line: list[str], prefixes: list[bytes], positions: list[int]
) -> None:
    assert [revision.position for revision in store.history(prefixes)] == positions
    assert [revision.position for revision in store.history(prefixes, limit=1)] == positions[:1]


def test_an_abandoned_history_leaves_the_store_usable(store: Store, line: list[str]) -> None:
    history = store.history()
    assert next(history).node == line[-1]
    history.close()
    assert store.tip() == line[-1]
    contents = store.contents([(A, store.files(0)[A])] * 3)
    next(contents)
    del contents
    assert store.at(1).node == line[1]


def test_files_of_a_revision(store: Store, line: list[str]) -> None:
    assert [sorted(store.files(position)) for position in range(-1, 4)] == [
        [],
        [A, B],
        [A, B],
        [A, C],
        [A, B, C],
    ]
    assert store.files(3, [b"files/etc/"]).keys() == {A, B}
    assert store.files(3, [C, b"files/none"]).keys() == {C}
    assert store.files(0)[A] != store.files(1)[A]


def test_differences_between_two_revisions(store: Store, line: list[str]) -> None:
    files = [store.files(position) for position in range(4)]
    for old in range(4):
        for new in range(4):
            expected = {
                path: (files[old].get(path), files[new].get(path))
                for path in files[old].keys() | files[new].keys()
                if files[old].get(path) != files[new].get(path)
            }
            assert store.difference(old, new) == expected
    assert store.difference(-1, 0) == {path: (None, node) for path, node in files[0].items()}
    assert store.difference(0, -1) == {path: (node, None) for path, node in files[0].items()}


CONTENTS = [
    b"", b"\0", b"\n", b"a\r\nb\r\n", bytes(range(256)) * 5, b"\x01\n", b"\x01\ncopy: x\ncopyrev: 0\n\x01\nreal text\n",
    b"\x01\ncensored: x\n\x01\n", b"x" * 3_000_000,
]  # fmt: skip


def test_any_bytes_come_back_in_the_order_they_were_asked_for(store: Store) -> None:
    contents: dict[bytes, bytes | None] = {b"files/%d" % at: data for at, data in enumerate(CONTENTS)}
    commit(store, contents)
    files = store.files(0)
    asked = [(path, files[path]) for path in sorted(contents, reverse=True)] * 2
    assert list(store.contents(asked)) == [contents[path] for path, _ in asked]
    assert list(store.contents([])) == []


def test_each_content_is_asked_for_once_and_in_order(store: Store) -> None:
    asked: list[bytes] = []

    def supply(path: bytes) -> bytes:
        asked.append(path)
        return path

    contents: dict[bytes, bytes | None] = {b"files/%d" % at: b"" for at in range(30)}
    store.commit(draft(contents), "", supply)
    assert asked == sorted(contents)


def test_every_awkward_name_is_kept(store: Store, tmp_path: Path) -> None:
    contents: dict[bytes, bytes | None] = {content_path(b"/etc/" + name): name for name in names.FILES}
    contents |= {content_path(b"/" + name + b"/x"): name for name in names.FOLDERS}
    assert all(map(is_legal, contents))
    commit(store, contents)
    files = store.files(0)
    assert files.keys() == contents.keys()
    asked = list(files.items())
    assert list(store.contents(asked)) == [contents[path] for path, _ in asked]
    assert store.verify() == []
    assert StoreCopy(tmp_path / "store", tmp_path / "copy").complaints() == []


def test_a_revision_is_found_by_what_is_unique_of_its_hash(store: Store, line: list[str]) -> None:
    for position, node in enumerate(line):
        for prefix in (node, node[:12], node[:12].upper()):
            assert store.find(prefix).position == position
    same = next(n for n in range(1, 41) if len({node[:n] for node in line}) == 4)
    assert store.find(line[0][:same]).node == line[0]


@pytest.mark.parametrize(
    "prefix", ["", "xyz", "f" * 40, "0" * 41, "tip", "-1", "0:3", "all()", "00000000000", "é"]
)
def test_what_is_no_revision_is_not_found(store: Store, line: list[str], prefix: str) -> None:
    with pytest.raises(NotFound, match="is no revision"):
        store.find(prefix)


def test_what_fits_two_revisions_is_told(store: Store) -> None:
    for seq in range(1, 18):  # of 17 hashes two begin alike
        commit(store, {A: b"%d" % seq}, seq)
    first = [revision.node[0] for revision in store.history()]
    double = next(letter for letter in first if first.count(letter) > 1)
    with pytest.raises(NotFound, match="more than one"):
        store.find(double)


def test_a_revision_extends_the_tip_alone(store: Store, line: list[str]) -> None:
    for parent in ("", line[0], "0" * 40):
        with pytest.raises(DamagedStore, match="moved on"):
            store.commit(draft({A: b"x"}), parent, lambda path: b"x")
    assert store.tip() == line[-1]
    assert len(list(store.history())) == 4


def test_what_a_refused_commit_did_not_read_harms_nothing(store: Store, line: list[str]) -> None:
    contents: dict[bytes, bytes | None] = {b"files/%d" % at: os.urandom(500_000) for at in range(8)}
    for _ in range(2):
        with pytest.raises(DamagedStore, match="moved on"):
            store.commit(draft(contents), line[0], lambda path: contents[path] or b"")
        assert store.tip() == line[-1]
    commit(store, contents, 5)
    assert content(store, b"files/7") == contents[b"files/7"]


def test_a_known_content_is_named_again_not_stored_again(
    store: Store, line: list[str], tmp_path: Path
) -> None:
    known = store.files(0, [A])  # a is "2" by now, and b as it was
    again = {A: known[A], B: store.files(0, [B])[B]}

    def supply(path: bytes) -> bytes:
        assert path == C
        return b"new"

    store.commit(draft({A: b"", B: b"", C: b""}, 5, known=again), line[-1], supply)
    assert store.files(4) == again | store.files(4, [C])
    assert [content(store, path) for path in (A, B, C)] == [b"1", b"b", b"new"]
    assert store.difference(3, 4).keys() == {A, C}
    commit(store, {A: b"3"}, 6)
    assert content(store, A) == b"3"
    assert store.verify() == []
    copy = StoreCopy(tmp_path / "store", tmp_path / "copy")
    assert copy.complaints() == []
    assert copy.hg("cat", "-r", "4", "path:" + A.decode()) == b"1"


def test_removing_what_is_not_there_and_changing_nothing(store: Store, line: list[str]) -> None:
    commit(store, {b"files/none": None, A: b"3"}, 5)
    assert store.at(4).files == (A,)
    commit(store, {A: b"3"}, 6)
    assert content(store, A, 5) == b"3"
    assert store.verify() == []


def test_the_signature_changes_with_every_revision(store: Store) -> None:
    seen = {store.signature()}
    for seq in range(1, 4):
        commit(store, {A: b"%d" % seq}, seq)
        seen.add(store.signature())
    assert len(seen) == 4


def test_the_line_of_another_process_is_seen(store: Store, line: list[str], tmp_path: Path) -> None:
    with closing(Store(os.fsencode(tmp_path / "store"))) as other:
        node = commit(other, {A: b"other"}, 5)
    assert store.tip() == node
    assert content(store, A) == b"other"


def test_a_supply_that_fails_adds_nothing_and_the_store_goes_on(store: Store, line: list[str]) -> None:
    def supply(path: bytes) -> bytes:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        store.commit(draft({A: b"x", B: b"y"}), store.tip(), supply)
    store.close()
    store.recover()
    assert store.tip() == line[-1]
    assert store.verify() == []
    commit(store, {A: b"x"}, 5)


def test_what_is_no_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "store" / ".hg").mkdir(parents=True)
    (tmp_path / "store" / ".hg" / "requires").write_text("what-nobody-knows\n")
    place = os.fsencode(tmp_path / "store")
    with closing(Store(place)) as store, pytest.raises(PachaError, match=r"damaged|cannot"):
        store.tip()


def test_closing_twice_and_going_on(store: Store, line: list[str]) -> None:
    store.prepare()
    store.close()
    store.close()
    store.prepare()
    store.prepare()
    assert store.tip() == line[-1]


def test_lines_have_the_revision_that_brought_them(store: Store, tmp_path: Path) -> None:
    texts = [b"a\nb\nc", b"a\nB\nc", b"\x01\na\nB\n\0\n", b"a\nb\nc"]
    for seq, text in enumerate(texts, 1):
        commit(store, {A: text, B: b"%d\n" % seq}, seq)
    copy = StoreCopy(tmp_path / "store", tmp_path / "copy")
    for position, text in enumerate(texts):
        found = list(store.annotate(A, position))
        assert b"".join(line for _, line in found) == text
        said = copy.hg("annotate", "-a", "-n", "-r", str(position), f"path:{A.decode()}")
        assert said.removesuffix(b"\n") == b"".join(b"%d: %s" % line for line in found).removesuffix(b"\n")
    assert [at for at, _ in store.annotate(A, 1)] == [0, 1, 0]
    with pytest.raises(PachaError):
        list(store.annotate(C, 0))


def test_content_named_again_keeps_its_lines(store: Store) -> None:
    """A revision that names a content which the store has already: its lines are from where they were first."""
    for seq, text in enumerate((b"a\nb\n", b"a\nB\n"), 1):
        commit(store, {A: text}, seq)
    commit(store, {A: b"a\nb\n", B: b"more"}, 3, known={A: store.files(0, [A])[A]})
    commit(store, {A: b"a\nb\nc\n"}, 4)
    assert [at for at, _ in store.annotate(A, 2)] == [0, 0]
    assert [at for at, _ in store.annotate(A, 3)] == [0, 0, 3]


def test_lines_after_a_forgotten_version_count_as_new(store: Store) -> None:
    for seq in (1, 2, 3):
        commit(store, {A: b"a\n" * seq}, seq)
    assert [at for at, _ in store.annotate(A, 2)] == [0, 1, 2]
    store.censor(A)
    for seq in (4, 5):
        commit(store, {A: b"a\n" * seq}, seq)
    assert [at for at, _ in store.annotate(A, 4)] == [3, 3, 3, 3, 4]
