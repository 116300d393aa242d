"""Forget: remove the content of one file from every revision, for a secret that was captured by accident.

Called by the verb, which asks first. Mercurial's censor does the work: hashes, times and metadata stay, the
bytes go, here and in the stores that were replaced. This is the one operation after which the history holds
less than before. Servers are asked for the same: `ops/send` does it, and what a server has not done waits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from pacha.core.asked import Asked
from pacha.core.entry import DIRECTORY, parse_entry
from pacha.core.errors import NotFound, UsageError
from pacha.core.names import content_path, decode_path, join
from pacha.core.quantities import format_when
from pacha.core.shown import shown as show_path
from pacha.ops.heal import heal
from pacha.ops.history import log, newest, node_at, stored_content
from pacha.ops.host import Host
from pacha.ops.tip import lines_at
from pacha.ops.told import path_object


class Forgettable(NamedTuple):
    """What there is to forget, and what is left when it is done."""

    path: bytes
    keep: bytes  # the file hash of the content that stays; empty where none does
    revisions: int  # in which it was added or modified
    digests: set[bytes]
    is_live: bool
    is_watched: bool
    copies: list[bytes]  # other paths of the last revision with the same content as some version


def look_up(host: Host, path: bytes, *, keep_last: bool = False) -> Forgettable:
    """Raise NotFound for a path that never had a content, UsageError for a directory."""
    with host.lock:
        heal(host)  # of a forgetting that was killed, one of the log's two files may have taken its place
    shown = show_path(path)
    keep = _last_content(host, path) if keep_last else b""
    digests, revisions = set(), 0
    for told in list(log(host, [path])):
        for change in told.changes:
            if change.path != path:
                if change.after is not None:
                    raise UsageError(f"{shown} is or was a directory", hint="name one file")
                continue
            if change.after is not None and change.after.kind == DIRECTORY:
                raise UsageError(f"{shown} is or was a directory", hint="name one file")
            node = node_at(host, told.revision.position, path)
            if change.after is not None and change.after.digest and node not in (None, keep):
                assert node is not None
                digests.add(change.after.digest)
                revisions += stored_content(host, path, node) is not None
    if not digests:
        raise nothing_stored(path, keep)
    copies = _copies(host, path, digests)
    return Forgettable(path, keep, revisions, digests, _is_live(host, path), host.rules.covers(path), copies)


def nothing_stored(path: bytes, keep: bytes) -> NotFound:
    """What to say where there is nothing to forget."""
    which = "no other stored content than the last" if keep else "no stored content"
    return NotFound(f"{show_path(path)} has {which}", hint=f"pacha log {show_path(path)}")


def _last_content(host: Host, path: bytes) -> bytes:
    """The file hash of the content that the last revision has."""
    last = newest(host)
    node = node_at(host, last.position, path) if last is not None else None
    if node is None:
        shown = show_path(path)
        raise UsageError(
            f"the last revision has no content of {shown} that could stay", hint=f"pacha forget {shown}"
        )
    return node


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


def forget(host: Host, path: bytes, keep: bytes = b"") -> int:
    """Remove every stored content of `path` but the one whose file hash is `keep`; how many there were."""
    with host.lock:
        heal(host)
        host.forgets.ask(content_path(path), keep, host.now_ns(), host.config.servers)
        count = _censor(host, content_path(path), keep)
        for journal, _ in list(host.journals.all()):
            if any(step.path == path for step in journal.steps):
                journal.discard()
        host.index.change(values={"changelog": host.store.signature()}, normals={path: None})
    return count


def _censor(host: Host, path: bytes, keep: bytes) -> int:
    for place in host.archive.stores():
        store = host.open_store(place)
        try:
            store.censor(path, keep)
        finally:
            store.close()
    return host.store.censor(path, keep)


def forget_again(host: Host, address: str) -> None:
    """After this host took over the line of a server: what that has not forgotten yet came back with it."""
    for asked in host.forgets.all():
        if address in asked.servers:
            _censor(host, asked.path, asked.keep)


def asked_objects(asked: Iterable[Asked]) -> list[dict[str, Any]]:
    """`[{path, server, since, error}]`: what servers are asked for and have not done."""
    return [
        {
            **path_object(decode_path(one.path.partition(b"/")[2])),
            "server": address,
            "since": format_when(one.time_ns),
            "error": words or None,
        }
        for one in asked
        for address, words in one.servers.items()
    ]
