"""Heal what a killed Pacha left behind, unasked: an abandoned transaction, half-written files, an operation
that nobody confirmed.

Called at the start of every command, under the lock where it can be had. It never guesses: live files are
changed only by undoing an operation that was to be undone unless confirmed.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pacha.core.errors import Busy, Failed, NoSpace, Refused
from pacha.core.names import split
from pacha.core.rules import is_temporary
from pacha.core.tracked import CONFIG

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pacha.core.config import Config
    from pacha.core.deployed import Deployed
    from pacha.ops.apply import Done
    from pacha.ops.host import Host
    from pacha.ops.ports import Journal


BEFORE = "before"  # in a journal's header: the full hash of the revision to go back to
# States of a journal:
PUT_BACK = "back"  # of a rollback whose files are as before, which is not in the history yet
UNDONE = "undone"  # where others had seen what the push had made
TOO_LATE, CUT_OFF = "nobody confirmed it in time", "it was interrupted"  # why something was undone


def heal(host: Host, *, must: bool = False) -> None:
    """Under the lock: mend the store, remove temporary files, settle journals. What changes live files next
    `must` have them settled: Failed where a push cannot be undone wholly.
    """
    with host.lock:
        host.refresh()  # who had the lock may have recorded what this one does not know to be watched
        mend_store(host)
        if host.journals.any():
            for journal, complete in list(host.journals.all()):
                if complete and journal.header.get("is_whole"):
                    _settle_whole(host, journal, must=must)
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
        elif not settle_live(host, journal, must=True):
            keep_record(host, deployed_by(journal))


def refuse_while_waiting(host: Host) -> None:
    """Raise Refused where an operation waits to be confirmed: to undo it would undo what comes now."""
    for journal, complete in list(host.journals.all()):
        if complete and journal.deadline_ns is not None:
            verb, target = journal.header["verb"], journal.header["target"]
            raise Refused(
                f"the {verb} of {target} waits to be confirmed, or to be undone",
                hint=f"pacha confirm {journal.id}, on the host, or wait; pacha status there tells how long",
            )


def is_pushed(journal: Journal, complete: bool) -> bool:
    """Whether a journal is that of a push that is done, or undone, and waits to be recorded."""
    return complete and bool(journal.header.get("is_whole")) and not is_open(journal)


def is_open(journal: Journal) -> bool:
    """Whether it is neither kept nor undone yet: at work, interrupted, or waiting to be confirmed."""
    return not is_undone(journal) and not (journal.is_applied and journal.deadline_ns is None)


def is_undone(journal: Journal) -> bool:
    """Whether it was put back, and that is not in the history yet."""
    return bool(journal.outcome.get("state") == UNDONE)


def settle_live(host: Host, journal: Journal, *, is_late: bool = False, must: bool = False) -> bool:
    """Under the lock of live files: undo a push that was interrupted, or not confirmed in time, by the date
    or because it `is_late`; without Mercurial. Whether it is one that is not kept. Where it `must` be
    settled, raise Failed if it cannot be: what comes next would be undone with it.
    """
    if not is_open(journal):
        return is_undone(journal)
    if not journal.is_applied:
        why = CUT_OFF
    elif is_late or is_due(host, journal):
        why = TOO_LATE
    else:
        return True
    if not is_same_place(journal, host.config):
        _leave_to_another(host, journal)
        if must:
            raise Failed(
                f"an earlier push of {journal.header['target']} is being undone: {why}",
                hint="run it again in a moment",
            )
        return True
    from pacha.ops.undo import undo_push

    left = undo_push(host, journal, why)
    if left and must:
        raise Failed(
            f"an earlier push of {journal.header['target']} is not wholly undone: {left}",
            hint="make that possible, and run it again",
        )
    return True


def start_timer(host: Host, journal: Journal) -> None:
    """See to it that a journal with a deadline is undone then, whatever becomes of this process."""
    if journal.deadline_ns is not None:
        host.keep_running(f"pacha-confirm-{journal.id}", ["confirm", "--expire", journal.id])


def is_due(host: Host, journal: Journal) -> bool:
    """Whether it was to be confirmed before now."""
    return journal.deadline_ns is not None and host.now_ns() >= journal.deadline_ns


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


def remove_temporaries(host: Host, journal: Journal, spared: Collection[bytes] = ()) -> bool:
    """Remove Pacha's own half-written files beside the journal's targets, with what a directory among them
    holds, but for the `spared` names; False where a directory could not be looked at.
    """
    was_everywhere = True
    for directory in sorted({split(step.path)[0] for step in journal.steps}):
        try:
            with host.tree.directory(directory) as parent:
                for name in parent.names():
                    if is_temporary(name) and name not in spared:
                        host.tree.workbench(parent).discard(name)
        except OSError as problem:
            # Absent: it is one that was to be made, or is gone.
            was_everywhere = was_everywhere and problem.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
    return was_everywhere


def _settle_whole(host: Host, journal: Journal, *, must: bool) -> None:
    """A plan that is done as a whole or not at all: recorded where it was done, else put back; what waits to
    be confirmed goes on waiting, and is recorded as far as captures see it.
    """
    settle_live(host, journal, must=must)
    is_elsewhere = is_open(journal) and not is_same_place(journal, host.config)
    if (journal.is_applied or is_undone(journal)) and not is_elsewhere:
        from pacha.ops.pushed import settle

        settle(host, journal)
    _see_to_timer(host, journal)


def is_same_place(journal: Journal, config: Config) -> bool:
    """Whether a configuration is of the root, and the host, that an operation was begun in: it may be what
    that has changed. A rebuild names the host anew, and is undone as that.
    """
    then = journal.header.get(CONFIG)
    if then is None:  # of an earlier version
        return True
    keys = ["root"] if is_of_rebuild(journal) else ["root", "host"]
    return all(then.get(key) == config.data.get(key) for key in keys)


def _leave_to_another(host: Host, journal: Journal) -> None:
    """Have it settled by the configuration that it was begun by."""
    host.keep_running(f"pacha-settle-{journal.id}", ["confirm", "--expire", "all"])


def _see_to_timer(host: Host, journal: Journal) -> None:
    """Whoever waited for the deadline may be gone: the machine was restarted, or memory was short."""
    is_waiting = journal.is_applied and journal.deadline_ns is not None and not is_due(host, journal)
    if is_waiting and not journal.has_timer:
        start_timer(host, journal)


def _settle(host: Host, journal: Journal, complete: bool) -> None:
    if not complete:
        journal.discard()
        return
    deadline = journal.deadline_ns
    if deadline is not None and not is_same_place(journal, host.config):
        _leave_to_another(host, journal)
        return
    if not journal.is_applied:
        if deadline is None:
            remove_temporaries(host, journal)
            verb, target = journal.header["verb"], journal.header["target"]
            journal.discard()
            state = "each file is as it was or as it was to be"
            host.report.note(f"a {verb} to {target} was interrupted: {state}; run it again")
            return
    elif deadline is not None and host.now_ns() < deadline:
        _see_to_timer(host, journal)
        return
    if deadline is None:
        if remove_temporaries(host, journal):
            journal.discard()
        return
    take_back(host, journal, TOO_LATE if journal.is_applied else CUT_OFF)


def is_of_rebuild(journal: Journal) -> bool:
    """Whether what was there before is a revision, and no images in the journal."""
    return BEFORE in journal.header


def take_back(host: Host, journal: Journal, why: str) -> None:
    """Under the lock: undo a rollback or a rebuild, and settle its journal."""
    _clear_away(host)
    if is_of_rebuild(journal):
        from pacha.ops.undo_rebuild import undo_rebuild

        undo_rebuild(host, journal, why)
    else:
        from pacha.ops.undo_rollback import undo_rollback

        undo_rollback(host, journal, why)


def _clear_away(host: Host) -> None:
    """Remove what was half written when it was killed, or a part of it, or its undo: no revision knows these
    files, and a folder that has some cannot be removed.
    """
    for each, complete in host.journals.all():
        if complete and not each.header.get("is_whole"):
            remove_temporaries(host, each)
