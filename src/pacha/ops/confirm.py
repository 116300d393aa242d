"""Confirm or undo: settle an operation that is kept only when somebody says so.

Called by the verb `confirm`, by the detached timer (`confirm --expire`), by `heal` when a deadline has passed
while nothing of Pacha ran, and by operations whose last hook failed. Undo goes by the images in the journal,
so that it works whatever has become of the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pacha.core.entry import render_entry
from pacha.core.errors import Busy, NotFound
from pacha.core.names import outermost
from pacha.core.plan import Step
from pacha.core.quantities import time_name
from pacha.core.shown import shown as show_path
from pacha.ops.capture import record
from pacha.ops.host import Host
from pacha.ops.ports import Journal
from pacha.ops.restore import live_state, perform, plan
from pacha.ops.tip import tip_of


def waiting(host: Host) -> list[dict[str, Any]]:
    """`{id, verb, target, deadline_ns}` of each operation that waits to be confirmed."""
    if not host.journals.any():
        return []
    return [
        journal.header
        for journal, complete in host.journals.all()
        if complete and journal.deadline_ns is not None
    ]


def confirm(host: Host, identity: str) -> dict[str, Any]:
    """Keep what the operation did; its header. Raise NotFound where nothing of that name waits."""
    from pacha.ops.heal import heal, remove_temporaries

    with host.lock:
        heal(host)
        for journal, complete in host.journals.all():
            if complete and journal.id == identity and journal.deadline_ns is not None:
                remove_temporaries(host, journal)
                journal.discard()
                return journal.header
    raise NotFound(
        f"nothing waits for confirmation under {identity}", hint="it was confirmed or undone: see pacha log"
    )


def expire(host: Host, identity: str, deadline_ns: int, sleep: Callable[[float], None]) -> None:
    """What the detached timer does: wait for the deadline, then let `heal` undo what nobody confirmed.

    It starts before the plan is journalled, and ends early once it has seen the journal come and go.
    """
    from pacha.ops.heal import heal

    seen = False
    while (left := deadline_ns - host.now_ns()) > 0:
        is_waiting = any(operation["id"] == identity for operation in waiting(host))
        if seen and not is_waiting:
            return
        seen = seen or is_waiting
        sleep(min(1.0, left / 1e9))
    while any(operation["id"] == identity for operation in waiting(host)):
        try:
            heal(host)
        except Busy:
            sleep(1.0)


def undo(host: Host, journal: Journal, why: str) -> None:
    """Put everything the journal's plan changed back as it was, capture it, and remove the journal."""
    from pacha.ops.heal import finish

    with host.lock:
        tip_of(host)
        scope = outermost([step.path for step in journal.steps])
        record(
            host, scope, cause="undo", message=f"before undoing the {journal.header['verb']}", unpaced=None
        )
        live, difference = live_state(host, scope)
        touched = {step.path for step in journal.steps}
        before = {step.path: render_entry(step.before) for step in journal.steps if step.before is not None}
        present = {path: line for path, line in live.items() if path in touched}
        planned = plan(host, present, before, difference, lambda path, _entry: path in touched)
        images = {step.path: step.before_data for step in journal.steps}

        def contents(steps: Sequence[Step]) -> Iterator[bytes | None]:
            for step in steps:
                blob = images.get(step.path)
                yield journal.get(blob) if blob is not None else None

        if planned.steps:
            again = host.journals.new(time_name(host.now_ns()) + "u")
            header = {**journal.header, "id": again.id, "verb": "undo"}
            results = perform(host, again, planned, header, contents)
            for result in results:
                if not result.ok:
                    shown = show_path(result.step.path)
                    host.report.note(f"could not be undone: {shown}: {result.reason}")
            finish(host, again, results)
        journal.discard()
        message = f"undone: {journal.header['verb']} to {journal.header['target']}: {why}"
        record(host, scope, cause="undo", message=message, unpaced=None)
        host.report.note(message)
