"""How far a rebuild is, by `<state>/rebuild.json`: who runs the same again goes on, and with the same aim.

Called by `ops/rebuild`, which writes down there what it does. It decides what is aimed at, and changes
nothing.
"""

from __future__ import annotations

from typing import Any

from pacha.core.errors import NotFound
from pacha.core.names import escape_all
from pacha.core.revision import Revision
from pacha.ops.host import Host, Kept
from pacha.ops.rebuild_plan import Request, target_of


def resume(host: Host, source: Kept, request: Request) -> tuple[dict[str, Any], Revision, bool]:
    """(the progress so far, the revision that is aimed at, whether an interrupted one goes on)."""
    written = host.rebuild_file.read()
    before = written[0] if written is not None else {}
    asked = {
        **request._asdict(),
        "only": [escape_all(p).decode() for p in request.only],
        "skip": sorted(request.skip),
    }
    if before.get("request") == asked and (pinned := _found(source, before["target"])) is not None:
        return before, pinned, True
    is_own = source.store.path == host.store.path
    target = target_of(source, request.to, "" if is_own else host.machine)
    progress: dict[str, Any] = {"request": asked, "done": [], "target": target.node}
    if request.only and before:  # what is unfinished stays so
        progress["interrupted"] = before.get("interrupted", before)
    if "owners" in before:  # nobody else knows whose these files are
        progress["owners"] = before["owners"]
    return progress, target, False


def _found(source: Kept, node: str) -> Revision | None:
    """What was aimed at; None in a history, another copy maybe, that does not have it."""
    try:
        return source.store.find(node)
    except NotFound:
        return None
