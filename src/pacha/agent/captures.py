"""What the worker does with a request: a capture, or a look at everything.

Called in the worker's process alone, with its own `Host`. A look does not take what it finds where that is
little: it names the paths, so that the agent, which may know who changed them, asks for them. An answer is a
plain dict; an error is one too.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from pacha.agent.afterwards import Afterwards
from pacha.core.errors import PachaError
from pacha.core.who import Origin
from pacha.ops.capture import Captured, capture, look, note, record
from pacha.ops.heal import heal
from pacha.ops.host import Host
from pacha.ops.moments import on_failure
from pacha.ops.status import status, status_object
from pacha.ops.tip import last_of, tip_of

# More changes than this are one revision by nobody known: they came while no agent ran.
NAMED_AT_MOST = 1_000
# A capture's memory is that of its entries, so a storm's become several revisions.
ENTRIES_AT_MOST = 40_000
_CAUSE = "agent"
_TOLD_AT_MOST = 100


class Captures:
    """The worker's job on one host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._later = Afterwards(host.hooks, host.report.note)
        host.hooks = self._later

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request of `agent/tasks`."""
        return _answer(self._host, request)

    @property
    def is_busy(self) -> bool:
        """Whether hooks are still at work."""
        return self._later.is_busy

    def finish(self) -> None:
        """Wait for them."""
        self._later.finish()


def _answer(host: Host, request: dict[str, Any]) -> dict[str, Any]:
    try:
        if "look" in request:
            return {**_look(host), "status": _status(host)}
        origin = Origin(request["author"], tuple(request["who"]))
        done = capture(
            host, request["paths"], cause=request["cause"], message=request["message"], origin=origin,
            at_most=ENTRIES_AT_MOST,
        )  # fmt: skip
        _relieve(host, done)
        return {**_told(host, done), "status": _status(host)}
    except PachaError as problem:
        error = {"kind": problem.kind, "message": str(problem), "hint": problem.hint}
    except OSError as problem:
        error = {"kind": "failed", "message": problem.strerror or str(problem), "hint": ""}
    host.store.close()  # whatever was wrong with it, the next request gets a new Mercurial
    return {"error": error}


def _look(host: Host) -> dict[str, Any]:
    with host.lock, on_failure(host, _CAUSE), closing(host.new_spool()) as spool:
        heal(host)
        tip_of(host)
        difference = look(host, None, spool, at_most=ENTRIES_AT_MOST)
        if 0 < len(difference.changes) <= NAMED_AT_MOST and host.index.get("rules") == host.rules.render():
            note(host, difference)
            return {"found": [change.path for change in difference.changes], **_later(difference)}
        done = record(host, None, cause=_CAUSE, origin=Origin("unknown", ()), seen=difference)
        _relieve(host, done)
        return _told(host, done)


def _relieve(host: Host, done: Captured) -> None:
    """Mercurial keeps much of what it has read: after a large revision the next request gets a new one."""
    if len(done.changes) > NAMED_AT_MOST:
        host.store.close()


def _status(host: Host) -> dict[str, Any]:
    """What `pacha status` tells, as of now: the agent keeps it, so that nobody need look again."""
    found = status_object(host, status(host, []))
    return {**found, "skipped": found["skipped"][:_TOLD_AT_MOST]}


def _told(host: Host, done: Captured) -> dict[str, Any]:
    last = last_of(host) if done.revision is not None else None
    made = {}
    if last is not None:
        made = {
            "revision": last.id,
            "time_ns": last.stamp.time_ns,
            "author": last.author,
            "cause": last.stamp.cause,
            "message": last.message,
            "changed": [change.path for change in done.changes[:_TOLD_AT_MOST]],
        }
    return {"revision": None, **made, **_later(done)}


def _later(seen: Any) -> dict[str, Any]:
    unstable = [item.path for item in seen.skipped if item.reason.startswith("unstable")]
    return {"deferred": list(seen.deferred), "unstable": unstable, "is_partial": seen.is_partial}
