"""Diff: how files differ between two revisions, or between a revision and now.

Called by `diff` and `show`. It returns data (a `FileDiff` for each path) and leaves the looks to `ui`. Text
is compared line by line as `diff -u` does; a file with a NUL byte in its first 8,000, or lines that are too
many, counts as binary and is told by size and digest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pacha.core.changes import Change, describe, is_same, merge
from pacha.core.entry import Entry
from pacha.core.names import content_path, split
from pacha.core.shown import shown as show_path
from pacha.core.tracked import Skipped
from pacha.ops.history import entries_at
from pacha.ops.host import Host
from pacha.ops.restore import live_state, outermost
from pacha.ops.tip import tip_of

_BINARY_LOOK = 8000
_TEXT_AT_MOST = 4_000_000  # bytes; beyond this a line diff helps nobody


class FileDiff(NamedTuple):
    """One path: metadata differences in words, and either unified diff lines or `binary` words."""

    change: Change
    metadata: list[str]
    lines: list[bytes]
    binary: str


def render(host: Host, changes: Sequence[Change], old: int, new: int | None) -> Iterator[FileDiff]:
    """The differences of `changes`, which lie between position `old` and `new` (None: the live tree)."""
    for change in changes:
        before, after = change.before, change.after
        metadata = describe(before, after) if before is not None and after is not None else []
        if (
            before is not None
            and after is not None
            and before.sha256 == after.sha256
            and before.kind == after.kind
        ):
            yield FileDiff(change, metadata, [], "")
            continue
        contents = _content(host, change.path, before, old), _content(host, change.path, after, new)
        yield FileDiff(change, metadata, *_compared(change, contents))


def _content(host: Host, path: bytes, entry: Entry | None, position: int | None) -> bytes | None:
    """The bytes; None where there are none to compare (no file, not stored, forgotten)."""
    if entry is None or not entry.has_content:
        return None
    if position is not None:
        stored = content_path(path)
        node = host.store.files(position, [stored]).get(stored)
        return None if node is None else next(host.store.contents([(stored, node)]))
    status = host.tree.lstat(path)
    if status is None:
        return None
    directory, name = split(path)
    with host.tree.directory(directory) as parent:
        return parent.read(name, status, host.rules.size).data


def _compared(change: Change, contents: tuple[bytes | None, bytes | None]) -> tuple[list[bytes], str]:
    old, new = contents
    if old is None and new is None:
        return [], _no_content(change)
    if any(data is not None and _is_binary(data) for data in contents) or _missing(change, contents):
        return [], f"{_size_words(change.before, old)} → {_size_words(change.after, new)}"
    return list(unified(change, old, new)), ""


def _missing(change: Change, contents: tuple[bytes | None, bytes | None]) -> bool:
    """Whether a file's content that should be there is not: forgotten, or too large to be stored."""
    sides = zip((change.before, change.after), contents, strict=True)
    return any(entry is not None and entry.kind == b"file" and data is None for entry, data in sides)


def _no_content(change: Change) -> str:
    if any(e is not None and e.kind == b"file" for e in (change.before, change.after)):
        return f"{_size_words(change.before, None)} → {_size_words(change.after, None)}"
    return ""


def _is_binary(data: bytes) -> bool:
    return b"\0" in data[:_BINARY_LOOK] or len(data) > _TEXT_AT_MOST


def _size_words(entry: Entry | None, data: bytes | None) -> str:
    if entry is None:
        return "nothing"
    if entry.kind != b"file":
        return entry.kind.decode()
    size = len(data) if data is not None else entry.size
    digest = (entry.sha256 or b"").decode()[:12]
    known = f"{size} bytes" if size is not None else "forgotten content"
    return f"{known}, sha256 {digest}…" if digest else known


def unified(change: Change, old: bytes | None, new: bytes | None) -> Iterator[bytes]:
    """The lines of a unified diff with three lines of context, without their newlines."""
    import difflib

    name = show_path(change.path).encode()
    names = [
        b"a" + name if old is not None else b"/dev/null",
        b"b" + name if new is not None else b"/dev/null",
    ]
    sides = [(data or b"").splitlines(keepends=True) for data in (old, new)]
    yield b"--- " + names[0]
    yield b"+++ " + names[1]
    before, after = ([line.decode("utf-8", "surrogateescape") for line in side] for side in sides)
    for index, line in enumerate(difflib.unified_diff(before, after, n=3)):
        if index < 2:
            continue
        raw = line.encode("utf-8", "surrogateescape")
        yield raw.rstrip(b"\n")
        if not raw.endswith(b"\n"):
            yield b"\\ No newline at end of file"


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
