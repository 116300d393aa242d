"""Drift: deployed paths that are no longer as they were deployed, and who changed them.

Called by `status`, which goes by what was captured and is pending, and by `verify --deployment`, which reads
each path again. It changes nothing, and does not judge: a rollback, too, is drift from a deployment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from pacha.core.changes import ADDED, REMOVED, Change, classify
from pacha.core.deployed import facet, last_written
from pacha.core.entry import Entry, parse_entry
from pacha.core.errors import NotFound, PachaError
from pacha.core.names import split
from pacha.core.revision import Revision
from pacha.ops.history import log
from pacha.ops.host import Host
from pacha.ops.look import Look
from pacha.ops.scan import live_line
from pacha.ops.secrets import alike
from pacha.ops.told import path_object

Written = Mapping[bytes, tuple[str, Entry | None]]  # as `core/deployed.last_written` has it


class Drifted(NamedTuple):
    """A deployed path that is another now; `by` is the last revision in which it changed, None where that is
    not captured yet, or not known.
    """

    path: bytes
    deployment: str
    change: str
    by: Revision | None


def drifted_objects(drifted: Iterable[Drifted]) -> list[dict[str, Any]]:
    """For JSON."""
    return [
        {
            **path_object(one.path),
            "deployment": one.deployment,
            "change": one.change,
            **by_object(one.by),
        }
        for one in drifted
    ]


def by_object(revision: Revision | None) -> dict[str, Any]:
    """Whose work it is, where the history knows: `{revision, author, time_ns}`."""
    if revision is None:
        return {"revision": None, "author": None, "time_ns": None}
    return {"revision": revision.id, "author": revision.author, "time_ns": revision.stamp.time_ns}


def drift_seen(host: Host, written: Written, pending: Iterable[Change]) -> list[Drifted]:
    """By what was captured last, and by what a look has just found: no live file is read."""
    now = {change.path: change.after for change in pending}

    def present(path: bytes) -> Entry | None:
        return now[path] if path in now else _captured(host, path)

    watched = (one for one in _delivered(written) if host.rules.covers(one[0]))
    return _drifted(host, watched, present, lambda path, _: None if path in now else _last(host, path))


def drift_read(host: Host, name: str) -> list[Drifted]:
    """Of one deployment, each path being read again. Raise NotFound for one that was never pushed here."""
    records = host.deployments.all()
    if all(record.deployment != name for record in records):
        raise NotFound(f"no deployment {name} was pushed to this host", hint="pacha status tells of all")
    delivered = (one for one in _delivered(last_written(records)) if one[1] == name)
    return _drifted(host, delivered, Look(host).at, lambda path, here: changed_by(host, path, here))


def _delivered(written: Written) -> list[tuple[bytes, str, Entry | None]]:
    """(path, deployment, how that left it) of what is delivered still."""
    return [(path, name, entry) for path, (name, entry) in sorted(written.items()) if name]


def _drifted(
    host: Host,
    delivered: Iterable[tuple[bytes, str, Entry | None]],
    present: Callable[[bytes], Entry | None],
    by: Callable[[bytes, Entry | None], Revision | None],
) -> list[Drifted]:
    found = []
    for path, name, entry in delivered:
        here = there = present(path)
        wanted = entry
        if here is not None and wanted is not None:
            here, wanted = alike(host, path, here, wanted)
        if facet(here) != facet(wanted):
            change = ADDED if wanted is None else REMOVED if here is None else classify(wanted, here)
            found.append(Drifted(path, name, change, by(path, there)))
    return found


def changed_by(host: Host, path: bytes, here: Entry | None) -> Revision | None:
    """The revision that made a path what it is `here`; None where that is not captured, or cannot be read."""
    known = _captured(host, path)
    if known is not None and here is not None:
        known, here = alike(host, path, known, here)
    return _last(host, path) if facet(known) == facet(here) else None


def _captured(host: Host, path: bytes) -> Entry | None:
    row = host.index.row(*split(path)) or host.index.row(path, b".")
    return None if row is None else parse_entry(live_line(row))


def _last(host: Host, path: bytes) -> Revision | None:
    try:
        if not host.store.exists or not host.rules.covers(path):
            return None
        return next((told.revision for told in log(host, [path], limit=1)), None)
    except PachaError:
        return None
