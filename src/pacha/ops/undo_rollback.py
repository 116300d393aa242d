"""Undo a rollback by the images of its journal, with both states in the history.

Called by `ops/rollback` where its last hook failed, and by what settles a rollback that nobody confirmed. The
paths are watched, so it compares as a rollback does, hard links and all; `ops/undo` does it for a push, whose
paths may be watched by nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pacha.core.entry import render_entry
from pacha.core.names import outermost
from pacha.core.plan import Step
from pacha.core.quantities import time_name
from pacha.core.shown import shown as show_path
from pacha.ops.capture import record
from pacha.ops.heal import PUT_BACK, finish
from pacha.ops.host import Host
from pacha.ops.ports import Journal
from pacha.ops.restore import live_state, perform, plan
from pacha.ops.tip import tip_of


def undo_rollback(host: Host, journal: Journal, why: str) -> None:
    """Put everything the journal's plan changed back as it was, capture it, and remove the journal."""
    with host.lock:
        tip_of(host)
        scope = outermost([step.path for step in journal.steps])
        message = f"undone: {journal.header['verb']} to {journal.header['target']}: {why}"
        is_back = journal.outcome.get("state") == PUT_BACK
        first = message if is_back else f"before undoing the {journal.header['verb']}"
        record(host, scope, cause="undo", message=first, unpaced=None)
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
        record(host, scope, cause="undo", message=message, unpaced=None)
        host.report.note(message)
