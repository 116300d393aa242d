"""Results as the JSON objects of the contract: what `--json` prints and what hooks read on stdin are the same
words.

Called by the verbs' printing and by the hooks' callers. A path that is not UTF-8 appears as `path_b64`
instead of `path`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pacha.core.quantities import format_when

if TYPE_CHECKING:
    from pacha.core.changes import Change
    from pacha.core.line import Acknowledged
    from pacha.core.revision import Revision
    from pacha.core.tracked import Skipped
    from pacha.ops.apply import Done


def path_object(path: bytes) -> dict[str, Any]:
    """`{path}`, or `{path_b64}` for one that is not UTF-8."""
    try:
        return {"path": path.decode("utf-8")}
    except UnicodeDecodeError:
        import base64

        return {"path_b64": base64.b64encode(path).decode()}


def change_objects(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """`[{path, change}]`."""
    return [{**path_object(change.path), "change": change.change} for change in changes]


def skipped_objects(skipped: Iterable[Skipped]) -> list[dict[str, Any]]:
    """`[{path, reason, failed}]`."""
    return [{**path_object(item.path), "reason": item.reason, "failed": item.failed} for item in skipped]


def step_objects(results: Sequence[Done]) -> list[dict[str, Any]]:
    """`[{action, path, ok, reason}]` of the contract."""
    return [
        {"action": d.step.action, **path_object(d.step.path), "ok": d.ok, "reason": d.reason or d.step.reason}
        for d in results
    ]


def last_object(revision: Revision) -> dict[str, Any]:
    """The newest revision in short: `{id, time, time_ns, author, cause, message}`."""
    return {
        "id": revision.id,
        "time": format_when(revision.stamp.time_ns),
        "time_ns": revision.stamp.time_ns,
        "author": revision.author,
        "cause": revision.stamp.cause,
        "message": revision.message,
    }


def revision_object(revision: Revision, changes: Iterable[Change], host: str) -> dict[str, Any]:
    """`{id, time, host, author, cause, message, who, paths}` and the full hash."""
    return {
        "id": revision.id,
        "node": revision.node,
        "time": format_when(revision.stamp.time_ns),
        "host": revision.stamp.host or host,
        "author": revision.author,
        "cause": revision.stamp.cause,
        "message": revision.message,
        "who": list(revision.stamp.who),
        "hooks": list(revision.stamp.hooks),
        "paths": change_objects(changes),
    }


def server_object(server: Acknowledged, last: Revision | None) -> dict[str, Any]:
    """`{address, backlog, since, error …}` of a server; `last` is the newest revision here."""
    backlog = server.backlog(last.node, last.stamp.seq) if last else 0
    since_ns = server.since_ns or (last.stamp.time_ns if last and backlog else None)
    return {
        "address": server.address,
        "backlog": backlog,
        "since": format_when(since_ns) if since_ns else None,
        "error": server.error or None,
        "revision": server.node[:12] or None,
        "used": server.used,
        "quota": server.quota,
    }
