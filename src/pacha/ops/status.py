"""Status: what is watched, what is not yet captured, and what needs a person.

Called by the verb, and by the agent's worker, so that the agent can tell it at once. It changes nothing;
where another Pacha is at work it tells what it can.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from pacha.core import pace
from pacha.core.changes import Change
from pacha.core.deployed import last_written
from pacha.core.names import is_below
from pacha.core.revision import Revision
from pacha.core.tracked import Skipped
from pacha.ops.capture import Difference, look
from pacha.ops.catch_up import recently
from pacha.ops.change import open_change
from pacha.ops.confirm import waiting
from pacha.ops.drift import Drifted, drift_seen, drifted_objects
from pacha.ops.heal import heal_if_free
from pacha.ops.host import Host
from pacha.ops.scan import MOUNTED, TOO_LARGE
from pacha.ops.secrets import turned
from pacha.ops.tip import last_of, tip_of
from pacha.ops.told import change_objects, last_object, path_object, server_object, skipped_objects


class Status(NamedTuple):
    """`missing` are watches that are not there; `paced` are files that change too often to be captured at
    once.
    """

    last: Revision | None
    entries: int
    pending: list[Change]
    skipped: list[Skipped]
    paced: list[bytes]
    missing: list[bytes]
    waiting: list[dict[str, Any]]
    change: dict[str, Any] | None
    drift: list[Drifted]


def status(host: Host, paths: Sequence[bytes] | None = None) -> Status:
    """Look at `paths` (None: everything that is watched), and at what the captures before have left."""
    heal_if_free(host)
    host.refresh()
    tip_of(host)
    difference = look(host, paths, None, None)
    now = host.now_ns()
    paced = [path for path, text in host.index.paces().items() if pace.is_paced(pace.parse(text), now)]
    written = last_written(host.deployments.all())
    gone = {path for path, (_, entry) in written.items() if entry is None}  # as deployments want it
    missing = [path for path in host.config.watch if path not in gone and _is_missing(host, path)]
    return Status(
        last_of(host),
        host.index.count(),
        difference.changes,
        sorted(difference.skipped + _lasting(host, difference)),
        sorted(paced),
        missing,
        waiting(host),
        open_change(host),
        drift_seen(host, written, difference.changes),
    )


def status_object(host: Host, found: Status) -> dict[str, Any]:
    """The contract's object, but for `agent`."""
    on, off = turned(found.pending)
    return {
        "host": host.name,
        "role": _role(host),
        "state": host.state,
        "store": host.store.path.decode("utf-8", "surrogateescape"),
        "config": host.config.source,
        "watches": [path_object(path) for path in host.config.watch],
        "entries": found.entries,
        "revision": found.last.id if found.last else None,
        "last": last_object(found.last) if found.last else None,
        "pending": change_objects(found.pending),
        "skipped": skipped_objects(found.skipped),
        "missing": [path_object(path) for path in found.missing],
        "paced": [path_object(path) for path in found.paced],
        "encrypted": [path_object(path) for path in on],
        "cleared": [path_object(path) for path in off],
        "unconfirmed": found.waiting,
        "drift": drifted_objects(found.drift),
        "caught_up": recently(host),
        "change": found.change,
        "rebuild": unfinished(host),
        "servers": [
            server_object(host.index.acknowledged(address), found.last) for address in host.config.servers
        ],
        "changelog": host.store.signature().decode(),
    }


def unfinished(host: Host) -> str | None:
    """The host of which a rebuild was begun here and has not ended."""
    written = host.rebuild_file.read()
    request = written[0].get("request") if written is not None else {"name": None}
    name = request.get("name") if isinstance(request, dict) else ""
    return None if name is None else str(name) or "a host"


def _role(host: Host) -> str:
    if host.config.serve_account is not None or os.path.isdir(os.path.join(host.state, "server")):
        return "server"
    return "client" if host.config.servers else "standalone"


def _is_missing(host: Host, path: bytes) -> bool:
    try:
        return host.tree.lstat(path) is None
    except OSError:
        return False


def _lasting(host: Host, seen: Difference) -> list[Skipped]:
    """What earlier captures left out: where this look has not been, and, where it had no reason to look at it
    again, such as a file too large.
    """
    known = {item.path for item in seen.skipped}
    lasting = []
    for path, reason in host.index.skipped().items():
        was_looked_at = any(is_below(path, top) for top in seen.scope)
        if path not in known and (not was_looked_at or reason.startswith(TOO_LARGE)):
            lasting.append(Skipped(path, reason, not reason.startswith((TOO_LARGE, MOUNTED))))
    return lasting
