"""Diff: how files differ between two revisions, or between a revision and now.

Called by `diff`, `show` and `ops/diff_text`. It returns data (a `FileDiff` for each path) and leaves the
looks to `ui`. Text is compared line by line as `diff -u` does; a file with a NUL byte in its first 8,000, or
lines that are too many, counts as binary and is told by size and digest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pacha.core.changes import Change, describe, is_same, merge
from pacha.core.entry import FILE, Entry
from pacha.core.errors import Closed
from pacha.core.names import content_path, outermost, split
from pacha.core.shown import printable
from pacha.core.shown import shown as show_path
from pacha.core.tracked import Skipped
from pacha.ops.history import entries_at, stored_content
from pacha.ops.host import Host, Past
from pacha.ops.restore import live_state
from pacha.ops.secrets import opened
from pacha.ops.tip import tip_of

_BINARY_LOOK = 8000
_TEXT_AT_MOST = 4_000_000  # bytes; beyond this a line diff helps nobody


class FileDiff(NamedTuple):
    """One path: metadata differences in words, and either unified diff lines or `binary` words, or words for
    whom a content is `encrypted` that no key at hand opens.
    """

    change: Change
    metadata: list[str]
    lines: list[bytes]
    binary: str
    encrypted: str = ""


def render(
    host: Past,
    changes: Sequence[Change],
    old: int,
    new: int | None,
    named: Callable[[bytes], str] = bytes.decode,
    patience: float | None = None,
) -> Iterator[FileDiff]:
    """The differences of `changes`, which lie between position `old` and `new` (None: the live tree).

    `named` says how a kind of entry is called; a file that takes longer than `patience` (seconds) to compare
    is told by size and digest, as a binary one.
    """
    stored = [content_path(change.path) for change in changes]
    nodes_before = host.store.files(old, stored) if stored else {}
    nodes_after = host.store.files(new, stored) if stored and new is not None else None
    for change in changes:
        before, after = change.before, change.after
        metadata = (
            describe(change.path, before, after, named) if before is not None and after is not None else []
        )
        if (
            before is not None
            and after is not None
            and before.digest == after.digest
            and before.kind == after.kind
        ):
            yield FileDiff(change, metadata, [], "")
            continue
        try:
            contents = (
                _content(host, change.path, before, nodes_before),
                _content(host, change.path, after, nodes_after),
            )
        except Closed as problem:
            yield FileDiff(change, metadata, [], "", f"{problem}: {problem.hint}")
            continue
        if contents[0] is not None and contents[0] == contents[1]:  # only now it is, or was, encrypted
            yield FileDiff(change, metadata, [], "")
            continue
        yield FileDiff(change, metadata, *_compared(change, contents, named, patience))


def words(diff: FileDiff) -> str:
    """What differs but for lines of text, on one line; empty where nothing does."""
    binary = [f"binary {diff.binary}"] if diff.binary else []
    return "; ".join([*map(printable, diff.metadata), *binary, *filter(None, [diff.encrypted])])


def _content(
    host: Past, path: bytes, entry: Entry | None, nodes: Mapping[bytes, bytes] | None
) -> bytes | None:
    """The bytes, in the clear; None where there are none to compare (no file, not stored, forgotten). Raise
    Closed where no key at hand opens them.

    `nodes` are the file hashes of a revision, None for the live tree.
    """
    if entry is None or not entry.has_content:
        return None
    if nodes is not None:
        stored = content_path(path)
        node = nodes.get(stored)
        data = None if node is None else stored_content(host, path, node)
        return None if data is None else opened(host, path, entry, data)
    assert isinstance(host, Host), "another host's live tree is not here"
    status = host.tree.lstat(path)
    if status is None:
        return None
    directory, name = split(path)
    with host.tree.directory(directory) as parent:
        return parent.read(name, status, host.rules.size).data


def _compared(
    change: Change,
    contents: tuple[bytes | None, bytes | None],
    named: Callable[[bytes], str],
    patience: float | None,
) -> tuple[list[bytes], str]:
    old, new = contents
    sizes = f"{_size_words(change.before, old, named)} → {_size_words(change.after, new, named)}"
    if old is None and new is None:
        entries = change.before, change.after
        return [], sizes if any(entry is not None and entry.kind == FILE for entry in entries) else ""
    if any(data is not None and is_binary(data) for data in contents) or _missing(change, contents):
        return [], sizes
    from pacha.core.unified import GivenUp

    try:
        return list(unified(change, old, new, patience)), ""
    except GivenUp:
        return [], sizes


def _missing(change: Change, contents: tuple[bytes | None, bytes | None]) -> bool:
    """Whether a file's content that should be there is not: forgotten, or too large to be stored."""
    sides = zip((change.before, change.after), contents, strict=True)
    return any(entry is not None and entry.kind == FILE and data is None for entry, data in sides)


def is_binary(data: bytes) -> bool:
    """Whether nobody would want to read its lines: no text, or too much of it."""
    return b"\0" in data[:_BINARY_LOOK] or len(data) > _TEXT_AT_MOST


def _size_words(entry: Entry | None, data: bytes | None, named: Callable[[bytes], str]) -> str:
    if entry is None:
        return "nothing"
    if entry.kind != FILE:
        return named(entry.kind)
    size = len(data) if data is not None else entry.size
    digest = (entry.sha256 or b"").decode()[:12]
    known = f"{size} bytes" if size is not None else "forgotten content"
    return f"{known}, sha256 {digest}…" if digest else known


def unified(
    change: Change, old: bytes | None, new: bytes | None, patience: float | None = None
) -> Iterator[bytes]:
    """The lines of a unified diff with three lines of context, without their newlines.

    Raise GivenUp where there is a `patience`, and it is not enough.
    """
    from pacha.core.unified import hunks

    name = show_path(change.path).encode()
    yield b"--- " + (b"a" + name if old is not None else b"/dev/null")
    yield b"+++ " + (b"b" + name if new is not None else b"/dev/null")
    end = time.monotonic() + (patience or 0)

    def is_enough() -> bool:
        return time.monotonic() > end

    sides = lines_of(old or b""), lines_of(new or b"")
    for line in hunks(*sides, is_enough if patience is not None else None):
        yield line.rstrip(b"\n")
        if not line.endswith(b"\n"):
            yield b"\\ No newline at end of file"


def lines_of(data: bytes) -> list[bytes]:
    """The lines with their newlines; a lone carriage return ends none."""
    *lines, rest = data.split(b"\n")
    whole = [line + b"\n" for line in lines]
    return [*whole, rest] if rest else whole


def live_difference(host: Host, old: int, paths: Sequence[bytes]) -> tuple[list[Change], list[Skipped]]:
    """What the live tree (below `paths`, or everything watched) has that the revision at position `old` has
    not.
    """
    tip_of(host)
    scope = outermost(paths) if paths else list(host.rules.watches)
    live, difference = live_state(host, scope)
    then: dict[bytes, bytes] = {}
    for top in scope:
        then.update(entries_at(host, old, top))
    differences = [
        (path, then.get(path), live.get(path))
        for path in then.keys() | live.keys()
        if not is_same(then.get(path), live.get(path))
    ]
    return merge(differences), [item for item in difference.skipped if item.failed]
