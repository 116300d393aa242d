"""Heal what a killed Pacha left behind, unasked: an abandoned transaction, half-written files, an operation
that nobody confirmed.

Called at the start of every command, under the lock where it can be had. It never guesses: live files are
changed only by undoing an operation that was to be undone unless confirmed.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pacha.core.errors import Busy, NoSpace
from pacha.core.names import split
from pacha.core.rules import is_temporary

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pacha.core.deployed import Deployed
    from pacha.ops.apply import Done
    from pacha.ops.host import Host
    from pacha.ops.ports import Journal


def heal(host: Host) -> None:
    """Under the lock: mend the store, remove temporary files, settle journals."""
    with host.lock:
        mend_store(host)
        if host.journals.any():
            for journal, complete in list(host.journals.all()):
                if complete and journal.header.get("is_whole"):
                    _settle_whole(host, journal)
                else:
                    _settle(host, journal, complete)


def mend_store(host: Host) -> None:
    """Undo a transaction that a killed Pacha has left."""
    if host.store.exists and (host.store.is_abandoned or host.store.has_lock) and host.store.recover():
        host.report.note("an interrupted capture was undone; what it would have recorded is captured next")


def prepare_for_push(host: Host) -> None:
    """Under the lock of live files: what must be settled before they are compared with a deployment, and no
    more. What an earlier push has done may still wait to be recorded.
    """
    if not host.journals.any():
        return
    for journal, complete in list(host.journals.all()):
        if not complete:
            journal.discard()
        elif not journal.header.get("is_whole"):
            heal(host)
            return
        elif journal.is_applied:
            keep_record(host, deployed_by(journal))
        else:
            _settle_whole(host, journal)


def is_pushed(journal: Journal, complete: bool) -> bool:
    """Whether a journal is that of a push that is done, and waits to be recorded."""
    return complete and bool(journal.header.get("is_whole")) and journal.is_applied


def deployed_by(journal: Journal) -> Deployed:
    """What a push has made, by its journal."""
    from pacha.core.deployed import parse

    return parse(journal.header["deployed"].encode())


def keep_record(host: Host, deployed: Deployed) -> None:
    """What an applied push has deployed is known from then on, whatever ended it right afterwards."""
    if not is_kept(host, deployed):
        host.deployments.put(deployed)


def is_kept(host: Host, deployed: Deployed) -> bool:
    """Whether that is known already, from this push or from a later one."""
    known = {record.deployment: record.time_ns for record in host.deployments.all()}
    return known.get(deployed.deployment, -1) >= deployed.time_ns


def heal_if_free(host: Host) -> None:
    """The same for commands that only read: where another Pacha is at work there is nothing to heal, and on
    a full disk it has time.
    """
    if not (host.journals.any() or (host.store.exists and host.store.is_abandoned)):
        return
    try:
        # Who records a push makes haste once somebody waits for it; and that is what people look for then.
        with host.lock if _has_pushed(host) else host.lock.briefly():
            heal(host)
    except NoSpace:
        return
    except Busy:
        if _has_pushed(host):
            host.report.note("what was pushed last is not in the history yet")


def _has_pushed(host: Host) -> bool:
    return any(is_pushed(journal, complete) for journal, complete in host.journals.all())


def finish(host: Host, journal: Journal, results: Iterable[Done]) -> None:
    """What the journal's plan asked for was done, or could not be: remove it.

    It stays where a failed step left a half-written file that cannot be removed now: the next command does.
    """
    if all(done.ok for done in results) or remove_temporaries(host, journal):
        journal.discard()


def remove_temporaries(host: Host, journal: Journal) -> bool:
    """Remove Pacha's own half-written files beside the journal's targets, with what a directory among them
    holds; False where a directory could not be looked at.
    """
    was_everywhere = True
    for directory in sorted({split(step.path)[0] for step in journal.steps}):
        try:
            with host.tree.directory(directory) as parent:
                for name in parent.names():
                    if is_temporary(name):
                        host.tree.workbench(parent).discard(name)
        except OSError as problem:
            # Absent: it is one that was to be made, or is gone.
            was_everywhere = was_everywhere and problem.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
    return was_everywhere


def _settle_whole(host: Host, journal: Journal) -> None:
    """A plan that is done as a whole or not at all: recorded where it was done, else put back."""
    if journal.is_applied:
        from pacha.ops.pushed import settle

        settle(host, journal)
        return
    from pacha.ops.undo import put_back

    if put_back(host, journal):
        target = journal.header["target"]
        host.report.note(f"a push of {target} was interrupted: everything was put back; push again")


def _settle(host: Host, journal: Journal, complete: bool) -> None:
    if not complete:
        journal.discard()
        return
    deadline = journal.deadline_ns
    if not journal.is_applied:
        remove_temporaries(host, journal)
        if deadline is None:
            verb, target = journal.header["verb"], journal.header["target"]
            journal.discard()
            state = "each file is as it was or as it was to be"
            host.report.note(f"a {verb} to {target} was interrupted: {state}; run it again")
            return
    elif deadline is not None and host.now_ns() < deadline:
        return
    if deadline is None:
        if remove_temporaries(host, journal):
            journal.discard()
        return
    from pacha.ops.confirm import undo

    undo(host, journal, "nobody confirmed it in time")
