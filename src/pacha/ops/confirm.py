"""Confirm or undo: settle an operation that is kept only when somebody says so.

Called by the verb `confirm`, by `receive` for who has pushed, by the timer (`confirm --expire ID`), by what
runs when the machine starts (`confirm --expire all`), and by `status`. Undo goes by the images in the
journal, so that it works whatever has become of the store, and whatever else is gone: `heal` does it, too,
when a deadline has passed while nothing of Pacha ran.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pacha.core.errors import Busy, Interrupted, NotFound, PachaError, Undone
from pacha.ops.heal import (
    CUT_OFF,
    PUT_BACK,
    TOO_LATE,
    deployed_by,
    heal,
    is_due,
    is_of_rebuild,
    is_open,
    keep_record,
    remove_temporaries,
    settle_live,
    start_timer,
    take_back,
)

if TYPE_CHECKING:
    from pacha.ops.host import Host
    from pacha.ops.ports import Journal

_TICK = 0.5  # seconds between two looks of the timer
_LONGEST_PAUSE = 60.0  # … where the undoing fails


def waiting(host: Host) -> list[dict[str, Any]]:
    """`{id, verb, host, target, deadline_ns}` of each operation that waits to be confirmed."""
    if not host.journals.any():
        return []
    return [
        {
            **{key: journal.header[key] for key in ("id", "verb", "host", "target")},
            "deadline_ns": journal.deadline_ns,
        }
        for journal, complete in host.journals.all()
        if complete and journal.deadline_ns is not None
    ]


def confirm(host: Host, identity: str) -> dict[str, Any]:
    """Keep what the operation did; its header. Raise NotFound where nothing of that name waits."""
    with host.lock:
        heal(host)
        journal = host.journals.find(identity)
        is_waiting = journal is not None and journal.is_applied and journal.deadline_ns is not None
        if journal is not None and is_waiting and not is_due(host, journal):
            _keep(host, journal)
            heal(host)
            return journal.header
    raise NotFound(
        f"nothing waits for confirmation under {identity}", hint="it was confirmed or undone: see pacha log"
    )


def confirm_push(host: Host, ticket: str) -> str:
    """Keep what was pushed with that ticket; what it was. Raise Undone where it is not there any more.

    It is asked again where an answer was lost: what is kept already stays so.
    """
    with host.live_lock:
        for journal, complete in list(host.journals.all()):
            if not complete or journal.header.get("ticket") != ticket:
                continue
            if not settle_live(host, journal):
                return str(journal.header["target"])
            if journal.is_applied and is_open(journal) and not is_due(host, journal):
                _keep(host, journal)
                return str(journal.header["target"])
        for record in host.deployments.all():
            if record.ticket == ticket:
                return record.deployment
    raise Undone("it was undone on the host", hint="pacha log there tells why, where the paths are watched")


def _keep(host: Host, journal: Journal) -> None:
    if journal.header.get("is_whole"):
        journal.mark_applied({**journal.outcome, "deadline_ns": None}, durably=True)
        keep_record(host, deployed_by(journal))
    elif remove_temporaries(host, journal):
        journal.discard()


def expire(
    host: Host,
    identity: str,
    sleep: Callable[[float], None],
    clock: Callable[[], float],
    is_outdated: Callable[[], bool] = lambda: False,
) -> bool:
    """What the timer does: undo what is interrupted, or what nobody has confirmed by its deadline.

    It ends when that has been kept or undone; or, with False, where it failed and `is_outdated`: the host is
    not as it was when this began, and is to be looked at anew. The time is measured by `clock`, which
    nobody sets; the date counts only for who looks after a restart of the machine, and cannot make it longer
    than was asked for.
    """
    has_begun, pause = False, _TICK
    deadline_ns, end = 0, 0.0
    while (journal := host.journals.find(identity)) is not None:
        if journal.deadline_ns is None or not (has_begun or journal.begin_timer()):
            return True
        has_begun = True
        if journal.deadline_ns != deadline_ns:
            deadline_ns = journal.deadline_ns
            left = deadline_ns - host.now_ns()
            # The clock may have been set back, or have stopped with the machine.
            end = clock() + min(left, journal.header.get("wait_ns") or left) / 1e9
        if not journal.is_applied or clock() >= end:
            was_free = _settled(host, identity, deadline_ns, clock() >= end)
            if not was_free and is_outdated():
                return False
            pause = _TICK if was_free else min(2 * pause, _LONGEST_PAUSE)
        sleep(pause)
    return True


def expire_all(host: Host, tell_ready: Callable[[], None]) -> None:
    """What is done after a restart of the machine: put back the files of what that has interrupted, or of
    what was to be confirmed by now; tell that what reads them may start; see to the rest.

    Services are restarted and hooks run only then, as they may wait for what waits for us; each operation by
    a process of its own, which tries again where the undoing fails.
    """
    left = [journal for journal, complete in host.journals.all() if complete and _was_left(journal)]
    for journal in left:
        if not journal.is_applied or is_due(host, journal):
            try:
                with host.live_lock.briefly():
                    _put_back(host, journal)
            except (PachaError, OSError) as problem:  # it is tried again below
                host.report.note(f"not put back yet: {problem}")
    tell_ready()
    for journal in left:
        start_timer(host, journal)
    for journal in left:
        if journal.deadline_ns is None:
            with host.live_lock:
                settle_live(host, journal)


def _was_left(journal: Journal) -> bool:
    """Whether it is to be seen to. An interrupted rollback stays so, unless it was to be confirmed."""
    return is_open(journal) and bool(journal.header.get("is_whole") or journal.deadline_ns is not None)


def _put_back(host: Host, journal: Journal) -> None:
    if is_of_rebuild(journal):  # what was there before is in the history
        take_back(host, journal, TOO_LATE if journal.is_applied else CUT_OFF)
        return
    from pacha.ops.undo import put_back

    if not put_back(host, journal) and not journal.header.get("is_whole"):
        journal.mark(PUT_BACK, journal.outcome, durably=True)


def _settled(host: Host, identity: str, deadline_ns: int, is_late: bool) -> bool:
    """Undo it, if it is not at work; whether nothing was in the way."""
    try:
        with host.live_lock.briefly():
            journal = host.journals.find(identity)
            if journal is not None and journal.deadline_ns != deadline_ns:  # it was done only now
                return True
            if journal is not None and journal.header.get("is_whole"):
                settle_live(host, journal, is_late=is_late)
        with host.lock.briefly():
            journal = host.journals.find(identity)
            is_here = journal is not None and not journal.header.get("is_whole")
            is_same = is_here and journal is not None and journal.deadline_ns == deadline_ns
            if journal is not None and is_same and (is_late or not journal.is_applied):
                take_back(host, journal, TOO_LATE if is_late else CUT_OFF)
            heal(host)
    except Busy:
        return True
    except Interrupted:  # whoever ends this is not to wait: the machine stops
        raise
    except (PachaError, OSError):  # it is all that is left to undo it: again, and again
        return False
    return True
