"""Rebuild unless confirmed: a rebuild that fails, is killed, or is not confirmed in time is taken back.

Called by `ops/rebuild` for one that is to be confirmed, and by what settles journals (`ops/heal`,
`ops/confirm`). Its journal has no steps: what the machine had before is a revision, on the disk before
anything is touched, and the way back is a plan to that. Packages stay. It needs no source and no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from pacha.core import accounts
from pacha.core.errors import HookFailed
from pacha.core.quantities import time_name
from pacha.core.revision import Revision
from pacha.core.shown import shown
from pacha.core.tracked import CONFIG
from pacha.ops.capture import record
from pacha.ops.heal import BEFORE, finish, start_timer
from pacha.ops.host import Host
from pacha.ops.owed import owed_again
from pacha.ops.ports import Journal
from pacha.ops.restore import live_state, perform, stored_contents, stored_files
from pacha.ops.rollback import make_plan
from pacha.ops.tip import tip_of


@contextmanager
def unless_confirmed(host: Host, target: str, wait_ns: int | None) -> Iterator[Journal | None]:
    """While what is done inside is to be taken back after that time, unless it was confirmed: the journal
    that waits, its time running from the end; None where nothing is to be confirmed. What is there now must
    have been recorded. Whatever is raised inside, all is put back first.
    """
    if wait_ns is None:
        yield None
        return
    journal = host.journals.new(time_name(host.now_ns()))
    header = {
        "id": journal.id,
        "verb": "rebuild",
        "host": host.name,
        "target": target,
        BEFORE: host.store.tip(),
        "wait_ns": wait_ns,
        CONFIG: host.config.data,
    }
    journal.arm(header, [], host.now_ns() + wait_ns)
    start_timer(host, journal)  # before anything is touched
    try:
        yield journal
    except BaseException as problem:
        undo_rebuild(host, journal, "it failed")
        if isinstance(problem, HookFailed):
            problem.args = (f"{problem}; everything but packages was put back",)
        raise
    journal.mark_applied({"deadline_ns": host.now_ns() + wait_ns})


def undo_rebuild(host: Host, journal: Journal, why: str) -> None:
    """Make the watched files what they were, record both states, and remove the journal. Killed anywhere, the
    same again finishes it.
    """
    with host.lock:
        tip_of(host)
        before = host.store.find(journal.header[BEFORE])
        target = journal.header["target"]
        record(host, None, cause="undo", message=f"before undoing the rebuild to {target}", unpaced=None)
        # Accounts first: the owners of the others are numbers by these.
        _bring_back(host, before, target, of_accounts=True)
        host.tree.accounts.forget()
        changed = _bring_back(host, before, target, of_accounts=False)
        if host.rebuild_file.read() is not None:
            host.rebuild_file.remove()
        message = f"undone: rebuild to {target}: {why}"
        record(host, None, cause="undo", message=message, unpaced=None, texts=owed_again(host, before))
        journal.discard()
        host.system.settle(b"/etc/hostname" in changed, host.report.tool_output)
        host.report.note(message)


def _bring_back(host: Host, before: Revision, target: str, *, of_accounts: bool) -> set[bytes]:
    """One plan of what is not as it was; the paths that were touched."""
    scope = [*host.rules.watches, *host.rules.own]
    planned = make_plan(host, scope, before, live_state(host, scope))
    steps = [step for step in planned.steps if step.path in accounts.FILES or not of_accounts]
    planned = planned._replace(steps=steps)
    if not steps:
        return set()
    stored = stored_files(host, before, steps)
    journal = host.journals.new(time_name(host.now_ns()) + "u")
    header = {"id": journal.id, "verb": "undo", "host": host.name, "target": target}
    done = perform(host, journal, planned, header, partial(stored_contents, host, stored))
    for one in done:
        if not one.ok:
            host.report.note(f"could not be undone: {shown(one.step.path)}: {one.reason}")
    finish(host, journal, done)
    return {one.step.path for one in done}
