"""Catch up: a server has revisions that this host has not, so its line is taken over and what only this host
has is committed on top of it once more.

Called by `ops/send`: after a restored disk, a snapshot of a virtual machine, or a lost state folder. Nothing
is lost on either side: the server's line stays as it is, each revision of this host alone comes again with
the same state, author, time and message (`again` names what it was), and the store of before goes into the
archive. The network is used without the lock; only the last part is done under it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from itertools import takewhile

from pacha.core.errors import Refused, Unreachable
from pacha.core.quantities import time_name
from pacha.core.revision import Revision
from pacha.core.tracked import Draft
from pacha.ops.fetch import check_line
from pacha.ops.forget import forget_again
from pacha.ops.heal import heal
from pacha.ops.host import Host
from pacha.ops.ports import Server, Store
from pacha.ops.tip import tip_of

_AT_ONCE = 200
_DAY_NS = 86_400 * 10**9


def catch_up(host: Host, server: Server, tip: str, common: int, newest: str) -> bool:
    """Take over the server's line up to `tip`; the position `common` is the last that both have.

    `newest` was the newest revision here. Where it is not any more, nothing is done and false returned: the
    caller looks again. Raise Refused where the server's line cannot be this host's, or another server relies
    on the line here.
    """
    _must_not_concern_others(host, server, common)
    built = host.archive.begin(time_name(host.now_ns()))
    try:
        _fetch(host, server, built, common, tip)
        store = host.open_store(built)
        try:
            check_line(store, host.name, common, server.address)
            with host.lock:
                heal(host)
                if (host.store.tip() if host.store.exists else "") != newest:
                    return False
                count = _commit_again(host, store, common)
                store.close()
                host.store.close()
                place = host.archive.put(built, host.store.path)
                forget_again(host, server.address)
                tip_of(host)
        finally:
            store.close()
    finally:
        host.archive.drop(built)
    words = f"took over the line of revisions that {server.address} has of this host"
    more = f"; {count} that only this host had came again on top" if count else ""
    kept = place.decode("utf-8", "replace")
    host.report.note(f"{words}{more}; the store as it was is in {kept}")
    return True


def _fetch(host: Host, server: Server, built: bytes, common: int, tip: str) -> None:
    """Where the server's rest does not fit to what is here, since one of both has forgotten contents that it
    builds upon, all of its line.
    """
    try:
        server.fetch(built, common, tip)
    except (Refused, Unreachable):
        if common < 0:
            raise
        host.archive.drop(built)
        server.connect()
        server.fetch(built, -1, tip)


def recently(host: Host) -> int:
    """How often a store was replaced within a day. A restored disk is once; more tells of a clone: of two
    machines that extend one line each finds the other's revisions there, again and again.
    """
    since = time_name(host.now_ns() - _DAY_NS).encode()
    return sum(path.rpartition(b"/")[2] >= since for path in host.archive.stores())


def _must_not_concern_others(host: Host, server: Server, common: int) -> None:
    """What another server has acknowledged is never made again: it could not follow."""
    for address in host.config.servers:
        node = host.index.acknowledged(address).node
        if address != server.address and node and server.position(node) > common:
            raise Refused(
                f"{server.address} and {address} have different histories of {host.name}",
                hint=f"pacha host reset {host.name} on one of them keeps its history aside and begins anew",
            )


def _commit_again(host: Host, store: Store, common: int) -> int:
    """Put each revision after `common` on top of the line in `store`; how many."""
    if not host.store.exists:
        return 0
    mine = [*takewhile(lambda revision: revision.position > common, host.store.history())]
    count = 0
    for revision in reversed(mine):
        last = next(store.history(limit=1))
        if count == 0:
            changed = _towards(host, store, last.position, revision.position)
        else:
            found = host.store.difference(revision.position - 1, revision.position)
            changed = {path: after for path, (_, after) in found.items()}
        if changed:
            _commit(host, store, revision, last, changed)
            count += 1
    return count


def _towards(host: Host, store: Store, theirs: int, mine: int) -> dict[bytes, bytes | None]:
    """`{store path: file hash here, None where it goes}`: what makes a state there the one of a revision
    here.
    """
    before, after = store.files(theirs), host.store.files(mine)
    changed: dict[bytes, bytes | None] = {path: None for path in before if path not in after}
    differ = [path for path in after if before.get(path) != after[path]]
    for start in range(0, len(differ), _AT_ONCE):
        part = differ[start : start + _AT_ONCE]
        both = [path for path in part if path in before]
        theirs_now = dict(zip(both, store.contents([(p, before[p]) for p in both]), strict=True))
        for path, data in zip(part, host.store.contents([(p, after[p]) for p in part]), strict=True):
            if path not in before or theirs_now[path] != data:
                changed[path] = after[path]
    return changed


def _commit(
    host: Host, store: Store, revision: Revision, last: Revision, changed: Mapping[bytes, bytes | None]
) -> None:
    """One revision again, with the next number. A content that was forgotten is an empty one then."""
    stamp = revision.stamp._replace(seq=last.stamp.seq + 1, again=revision.node)
    present = sorted(path for path, node in changed.items() if node is not None)
    removed = sorted(path for path, node in changed.items() if node is None)
    draft = Draft(revision.author, revision.message, stamp, present, removed, {})
    wanted = [(path, node) for path in present if (node := changed[path]) is not None]
    with closing(host.store.contents(wanted)) as contents:
        store.commit(draft, last.node, lambda _path: next(contents) or b"")
