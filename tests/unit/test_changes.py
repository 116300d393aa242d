"""What changed: the contract's four words, and how metadata differs in words for people."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import entries

from pacha.core.changes import (
    ADDED,
    METADATA,
    MODIFIED,
    REMOVED,
    between,
    classify,
    describe,
    kind_words,
    merge,
    summary,
)
from pacha.core.entry import DIRECTORY, FILE, KINDS, SYMLINK, Entry, render_entry

PLAIN = Entry(FILE, 0o644, 0, b"root", 0, b"root", 1, b"00" * 32)
FOLDER = Entry(DIRECTORY, 0o755, 0, b"root", 0, b"root")
LINK = Entry(SYMLINK, 0o777, 0, b"root", 0, b"root", 1, target=b"a")
LINE = render_entry(PLAIN)


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        (None, PLAIN, ADDED),
        (PLAIN, None, REMOVED),
        (PLAIN, PLAIN._replace(sha256=b"11" * 32), MODIFIED),
        (PLAIN, LINK, MODIFIED),
        (PLAIN, FOLDER, MODIFIED),
        (LINK, LINK._replace(target=b"b"), MODIFIED),
        (PLAIN, PLAIN._replace(mode=0o600), METADATA),
        (FOLDER, FOLDER._replace(uid=5), METADATA),
        (PLAIN, PLAIN._replace(size=5), METADATA),
    ],
)
def test_the_word_for_a_change(before: Entry | None, after: Entry | None, word: str) -> None:
    assert classify(before, after) == word


def test_between_two_states_of_a_directory() -> None:
    old = {b".": b"d", b"same": b"x", b"gone": b"g", b"other": b"1"}
    new = {b".": b"e", b"same": b"x", b"new": b"n", b"other": b"2"}
    assert between(b"/etc", old, new) == [
        (b"/etc", b"d", b"e"),
        (b"/etc/gone", b"g", None),
        (b"/etc/new", None, b"n"),
        (b"/etc/other", b"1", b"2"),
    ]
    assert between(b"/", {}, {b"etc": b"x"}) == [(b"/etc", None, b"x")]


def test_a_file_that_became_a_directory_is_one_change() -> None:
    folder = render_entry(FOLDER)
    for differences in (
        [(b"/etc/x", LINE, None), (b"/etc/x", None, folder)],
        [(b"/etc/x", None, folder), (b"/etc/x", LINE, None)],
    ):
        (change,) = merge(differences)
        assert change == (b"/etc/x", MODIFIED, PLAIN, FOLDER)


def test_changes_are_sorted_by_path() -> None:
    found = merge([(b"/b", LINE, None), (b"/a", None, LINE)])
    assert [(change.path, change.change) for change in found] == [(b"/a", ADDED), (b"/b", REMOVED)]


@settings(max_examples=66, deadline=None)
@given(st.dictionaries(st.sampled_from([b"/a", b"/b", b"/c"]), st.tuples(st.none() | entries, entries)))
def test_changes_hold_both_entries(pairs: dict[bytes, tuple[Entry | None, Entry]]) -> None:
    lines = [
        (path, old and render_entry(old), render_entry(new)) for path, (old, new) in pairs.items() if old != new
    ]  # fmt: skip
    found = {change.path: (change.before, change.after) for change in merge(lines)}
    assert found == {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}


DESCRIPTIONS = [
    (PLAIN._replace(mode=0o4600), ["mode 0644 → 4600"]),
    (PLAIN._replace(kind=b"fifo"), ["kind file → fifo"]),
    (PLAIN._replace(uid=5, user=b"jo"), ["owner root → jo"]),
    (PLAIN._replace(uid=5, user=b""), ["owner root → 5"]),
    (PLAIN._replace(gid=6, group=b"disk"), ["group root → disk"]),
    (PLAIN._replace(acl=b"u::r--"), ["acl none → u::r--"]),
    (PLAIN._replace(flags=b"i"), ["flags none → i"]),
    (PLAIN._replace(link=b"/a"), ["becomes a hard link of /a"]),
    (PLAIN._replace(link=b"/x"), ["gets other names"]),
    (PLAIN._replace(holes=((0, 4096),)), ["holes 0 → 1"]),
    (PLAIN._replace(xattrs=((b"user.a", b"1"),)), ["attribute user.a added"]),
    (PLAIN._replace(unstable=True), ["unstable: it changed while it was read"]),
    (PLAIN._replace(mtime=2), ["time of last change"]),
    (PLAIN._replace(mtime=2, mode=0o600), ["mode 0644 → 0600"]),
    (PLAIN, []),
]


@pytest.mark.parametrize(("after", "words"), DESCRIPTIONS)
def test_metadata_in_words(after: Entry, words: list[str]) -> None:
    assert describe(b"/x", PLAIN, after) == words


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (b"/a", None, "ceases to be a hard link of /a"),
        (b"/x", None, "loses its other names"),
        (b"/a", b"/b", "becomes a hard link of /b"),
        (b"/a", b"/x", "ceases to be a hard link of /a"),
        (b"/x", b"/a", "becomes a hard link of /a"),
    ],
)
def test_hard_links_in_words(before: bytes, after: bytes | None, words: str) -> None:
    assert describe(b"/x", PLAIN._replace(link=before), PLAIN._replace(link=after)) == [words]


def test_kinds_in_words() -> None:
    words = {kind: kind_words(kind) for kind in KINDS}
    assert [words[kind] for kind in (b"fifo", b"char", b"block")] == [
        "named pipe",
        "character device",
        "block device",
    ]
    assert len(set(words.values())) == len(KINDS)
    assert describe(b"/x", PLAIN, LINK, kind_words)[0] == "kind file → symbolic link"


def test_attributes_in_words() -> None:
    before = PLAIN._replace(xattrs=((b"user.a", b"1"), (b"user.b", b"1")))
    after = PLAIN._replace(xattrs=((b"user.b", b"2"), (b"user.c", b"1")))
    assert describe(b"/x", before, after) == [
        "attribute user.a removed", "attribute user.b changed", "attribute user.c added",
    ]  # fmt: skip


def test_a_symlink_has_a_target_and_no_mode() -> None:
    assert describe(b"/x", LINK, LINK._replace(target=b"\xff")) == ["target a → \\xff"]
    assert describe(b"/x", PLAIN, LINK)[0] == "kind file → symlink"
    assert not [word for word in describe(b"/x", PLAIN, LINK) if word.startswith("mode")]


def test_a_directory_has_no_time() -> None:
    assert describe(b"/x", FOLDER, FOLDER._replace(mtime=5)) == []


@settings(max_examples=66, deadline=None)
@given(entries, entries)
def test_what_differs_but_for_content_has_words(one: Entry, other: Entry) -> None:
    words = describe(b"/x", one, other)
    assert all(words)
    if one == other:
        assert words == []
    elif not words:
        content = ("sha256", "size", "uid", "user", "gid", "group", "mtime")
        assert one._replace(**{key: getattr(other, key) for key in content}) == other


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (PLAIN, "file 0644 root:root"),
        (FOLDER._replace(mode=0o1777, user=b"", uid=7), "dir 1777 7:root"),
        (LINK, "symlink → a"),
        (PLAIN._replace(size=12), "file 0644 root:root, 12 bytes, content not stored"),
    ],
)
def test_an_entry_in_a_few_words(entry: Entry, words: str) -> None:
    assert summary(entry) == words


def test_an_entry_says_of_which_file_it_is_a_further_name() -> None:
    entry = PLAIN._replace(link=b"/a")
    assert summary(entry, b"/b") == "file 0644 root:root, a hard link of /a"
    assert summary(entry, b"/a") == summary(entry) == "file 0644 root:root"
