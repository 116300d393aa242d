"""The histories of many hosts as one list, by time.

Called by `log` on a server. Within each host the order is that of its line, whatever its clock said. It reads
the stores only, one after the other, by one Mercurial child.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence

from pacha.core.revision import Revision
from pacha.ops.history import Told, changes_between, log
from pacha.ops.host import Past

# Puts a host's history before the child, and gives it.
Open = Callable[[str], Past]


def log_across(
    names: Sequence[str], opened: Open, paths: Sequence[bytes], *, limit: int, since_ns: int | None
) -> list[tuple[str, Told]]:
    """(host, revision with its changes), newest first, at most `limit` (0: all)."""
    found = [[(name, told) for told in _newest(opened(name), paths, limit, since_ns)] for name in names]
    chosen = merged(found, limit)
    if paths:
        return chosen
    changes: dict[tuple[str, int], Told] = {}
    for name in names:
        mine = [told.revision for of, told in chosen if of == name]
        past = opened(name) if mine else None
        for revision in mine:
            assert past is not None
            at = revision.position
            changes[name, at] = Told(revision, changes_between(past, at - 1, at))
    return [(name, changes[name, told.revision.position]) for name, told in chosen]


def _newest(past: Past, paths: Sequence[bytes], limit: int, since_ns: int | None) -> list[Told]:
    """A host's newest revisions; without paths nobody has asked yet what each changed."""
    if paths:
        return list(log(past, paths, limit=limit, since_ns=since_ns))
    revisions: list[Revision] = list(past.store.history(limit=limit if since_ns is None else 0))
    kept = [one for one in revisions if since_ns is None or one.stamp.time_ns >= since_ns]
    return [Told(revision, []) for revision in kept[: limit or None]]


def merged(lists: Iterable[Sequence[tuple[str, Told]]], limit: int) -> list[tuple[str, Told]]:
    """Several hosts' lists, each newest first, as one."""
    found = heapq.merge(*map(_by_time, lists), key=lambda item: item[:3])
    return [(name, told) for _, name, _, told in found][: limit or None]


def _by_time(lines: Sequence[tuple[str, Told]]) -> Iterator[tuple[int, str, int, Told]]:
    """With keys that grow from the newest on: a clock that was set back does not change a line's order."""
    latest = None
    for place, (name, told) in enumerate(lines):
        key = -told.revision.stamp.time_ns
        latest = key if latest is None else max(latest, key)
        yield latest, name, place, told
