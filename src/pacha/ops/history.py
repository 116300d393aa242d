"""Reading a host's history: which revision is meant, what it changed, how a path was at it.

Called by `log`, `show`, `diff`, `cat`, `blame`, `rollback` and whatever else looks back. It reads the store
only, never the live tree or the index, so it works on any store: another host's on a server, or a copy on a
read-only disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pacha.core.changes import Change, between, kind_words, merge
from pacha.core.entry import DIRECTORY, Entry, parse_entry, split_directory
from pacha.core.errors import DamagedStore, NotFound
from pacha.core.names import META, content_path, encode_path, is_below, join, meta_directory, meta_path, split
from pacha.core.quantities import format_when, looks_like_when, parse_when
from pacha.core.revision import Revision
from pacha.core.shown import shown as show_path
from pacha.ops.host import Past
from pacha.ops.secrets import opened
from pacha.ops.tip import lines_at

_LONGEST_AGE = 5  # characters: 9999d
_LEAST_OLD_ID = 7  # digits


class Told(NamedTuple):
    """A revision with what it changed."""

    revision: Revision
    changes: list[Change]


def newest(host: Past) -> Revision | None:
    """The last revision, None where there is none."""
    return next(host.store.history(limit=1), None)


def resolve(host: Past, text: str) -> Revision:
    """The revision that `text` means: an id or a unique prefix of one, an ISO time, or an age (the last one
    not younger).

    Raise NotFound, or UsageError for a time in the future.
    """
    is_when = looks_like_when(text)
    # `3d` is three days, though some revision's hash may begin so; the longer, the more likely a hash.
    if not (is_when and (len(text) <= _LONGEST_AGE or text.lower().strip("0123456789abcdef"))):
        try:
            return host.store.find(text)
        except NotFound:
            if again := _made_again(host, text.lower()):
                return again
            if not is_when:
                raise
    when = parse_when(text, host.now_ns())
    for revision in host.store.history():
        if revision.stamp.time_ns <= when:
            return revision
    raise NotFound(
        f"there is no revision as old as {format_when(when)}", hint="pacha log shows how far back they go"
    )


def _made_again(host: Past, prefix: str) -> Revision | None:
    """The revision that had such an id before it was put on top of its server's line."""
    if len(prefix) < _LEAST_OLD_ID:
        return None
    return next((r for r in host.store.history() if r.stamp.again.startswith(prefix)), None)


def store_prefixes(path: bytes) -> list[bytes]:
    """The store paths that a change of `path`, or of anything below it, touches."""
    if path == b"/":
        return [META + b"/"]
    return [meta_path(split(path)[0]), META + b"/" + encode_path(path) + b"/"]


def log(
    host: Past, paths: Sequence[bytes] = (), *, limit: int = 0, since_ns: int | None = None
) -> Iterator[Told]:
    """Revisions, newest first, that changed one of `paths` or something below; each with those changes (all
    where no path is given).
    """
    prefixes = [prefix for path in paths for prefix in store_prefixes(path)]
    found = 0
    for revision in _buffered(host.store.history(prefixes)):
        if since_ns is not None and revision.stamp.time_ns < since_ns:
            continue
        changes = changes_between(host, revision.position - 1, revision.position, paths)
        if paths and not changes:
            continue
        yield Told(revision, changes)
        found += 1
        if found == limit:
            return


def _buffered(revisions: Iterable[Revision]) -> list[Revision]:
    """The store answers one request at a time: take the whole list before asking what each revision
    changed.
    """
    return list(revisions)


def changes_between(host: Past, old: int, new: int, paths: Sequence[bytes] = ()) -> list[Change]:
    """What differs between two positions, restricted to `paths` and what lies below them."""
    differing = {
        path: pair for path, pair in host.store.difference(old, new).items() if path.startswith(META + b"/")
    }
    if paths:
        wanted = [prefix for path in paths for prefix in store_prefixes(path)]
        exact, below = (
            {w for w in wanted if not w.endswith(b"/")},
            tuple(w for w in wanted if w.endswith(b"/")),
        )
        differing = {
            path: pair for path, pair in differing.items() if path in exact or path.startswith(below)
        }
    requests = [(path, node) for path, pair in differing.items() for node in pair if node is not None]
    texts = dict(zip(requests, host.store.contents(requests), strict=True))
    differences = []
    for path, pair in differing.items():
        try:
            states = [
                split_directory((texts[path, node] if node is not None else None) or b"") for node in pair
            ]
            differences += between(meta_directory(path), *states)
        except ValueError as problem:
            raise DamagedStore(f"{path.decode('utf-8', 'replace')} cannot be read: {problem}") from problem
    found = merge(differences)
    if not paths:
        return found
    return [change for change in found if any(is_below(change.path, path) for path in paths)]


def entries_at(host: Past, position: int, path: bytes) -> dict[bytes, bytes]:
    """`{path: metadata line}` of `path` and everything below it at a position; empty where it was not
    there.
    """
    found = {}
    for directory, names in lines_at(host, position, store_prefixes(path)).items():
        for name, line in names.items():
            entry_path = join(directory, name)
            if is_below(entry_path, path):
                found[entry_path] = line
    return found


def entry_at(host: Past, position: int, path: bytes) -> Entry | None:
    """One entry as it was, None where it was not there."""
    for directory, name in ((path, b"."), split(path)):
        lines = lines_at(host, position, [meta_path(directory)]).get(directory, {})
        if name in lines:
            try:
                return parse_entry(lines[name])
            except ValueError as problem:
                raise DamagedStore(f"{show_path(path)} cannot be read: {problem}") from problem
    return None


def content_at(host: Past, position: int, path: bytes) -> bytes | None:
    """The bytes of a file, those of a secret opened; None where they were forgotten. Raise NotFound where
    there are none, Closed where no key at hand opens them.
    """
    entry, node = entry_at(host, position, path), node_at(host, position, path)
    if node is not None:
        data = stored_content(host, path, node)
        return data if data is None or entry is None else opened(host, path, entry, data)
    if entry is not None and entry.target is not None:
        return entry.target
    raise without_content(path, entry)


def node_at(host: Past, position: int, path: bytes) -> bytes | None:
    """The file hash of a path's stored content at a position, None where it has none."""
    stored = content_path(path)
    return host.store.files(position, [stored]).get(stored)


def stored_content(host: Past, path: bytes, node: bytes) -> bytes | None:
    """The bytes as they are stored; None where they were forgotten."""
    (data,) = list(host.store.contents([(content_path(path), node)]))
    return data


def without_content(path: bytes, entry: Entry | None) -> NotFound:
    """Why the store has no bytes of a path, whose entry (None: it was not there) is given."""
    shown = show_path(path)
    if entry is None:
        return NotFound(
            f"{shown} was not there at that revision", hint=f"pacha log {shown} tells when it was"
        )
    if entry.kind == DIRECTORY:
        return NotFound(f"{shown} is a directory", hint="name one file")
    what = f"is a {kind_words(entry.kind)}" if entry.size is None else "was larger than max_file_size"
    return NotFound(f"{shown} {what}: it has no stored content")


def forgotten(path: bytes) -> NotFound:
    """That the bytes were taken out of the store."""
    return NotFound(f"the content of {show_path(path)} was forgotten")


def was_ever_tracked(host: Past, path: bytes) -> bool:
    """Whether any revision has anything at or below `path`."""
    return any(True for _ in log(host, [path], limit=1))
