"""Forget: remove the content of one file from every revision, for a secret that was captured by accident.

Called by the verb, which asks first. Mercurial's censor does the work: hashes, times and metadata stay, the
bytes go. This is the one operation after which the history holds less than before.
"""

from __future__ import annotations

from typing import NamedTuple

from pacha.core.entry import DIRECTORY, parse_entry
from pacha.core.errors import NotFound, UsageError
from pacha.core.names import content_path, join
from pacha.core.shown import shown as show_path
from pacha.ops.heal import heal
from pacha.ops.history import content_at, log, newest
from pacha.ops.host import Host
from pacha.ops.tip import lines_at


class Forgettable(NamedTuple):
    """What there is to forget, and what is left when it is done."""

    path: bytes
    revisions: int  # in which it was added or modified
    digests: set[bytes]
    is_live: bool
    is_watched: bool
    copies: list[bytes]  # other paths of the last revision with the same content as some version


def look_up(host: Host, path: bytes) -> Forgettable:
    """Raise NotFound for a path without stored content, UsageError for a directory."""
    shown = show_path(path)
    digests, revisions = set(), 0
    for told in list(log(host, [path])):
        for change in told.changes:
            if change.path != path:
                if change.after is not None:
                    raise UsageError(f"{shown} is or was a directory", hint="name one file")
                continue
            if change.after is not None and change.after.kind == DIRECTORY:
                raise UsageError(f"{shown} is or was a directory", hint="name one file")
            if change.after is not None and change.after.has_content and change.after.sha256:
                digests.add(change.after.sha256)
                revisions += content_at(host, told.revision.position, path) is not None
    if not digests or not revisions:
        raise NotFound(f"{shown} has no stored content", hint=f"pacha log {shown}")
    return Forgettable(
        path, revisions, digests, _is_live(host, path), host.rules.covers(path), _copies(host, path, digests)
    )


def _is_live(host: Host, path: bytes) -> bool:
    try:
        return host.tree.lstat(path) is not None
    except OSError:
        return True


def _copies(host: Host, path: bytes, digests: set[bytes]) -> list[bytes]:
    last = newest(host)
    found = []
    for directory, names in lines_at(host, last.position if last else -1, []).items():
        for name, line in names.items():
            if join(directory, name) != path and b"\tsha256=" in line and parse_entry(line).sha256 in digests:
                found.append(join(directory, name))
    return sorted(found)


def forget(host: Host, path: bytes) -> int:
    """Remove every stored content of `path`; how many versions there were."""
    with host.lock:
        heal(host)
        count = host.store.censor(content_path(path))
        for journal, _ in list(host.journals.all()):
            if any(step.path == path for step in journal.steps):
                journal.discard()
        host.index.change(values={"changelog": host.store.signature()}, normals={path: None})
    return count
