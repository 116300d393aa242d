"""From a journal into the history: what a push found, and what it made, as two revisions.

Called by `ops/heal`, so by every command that looks at the history or adds to it, by the agent before each
capture, and by the process that a push leaves behind. The push itself has answered long before. Killed
anywhere, the journal is still there, and what is recorded already is not recorded again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pacha.core.changes import is_same, merge
from pacha.core.deployed import Deployed, facet
from pacha.core.entry import DIRECTORY, Entry, render_entry
from pacha.core.errors import HookFailed, ReadOnly, Refused
from pacha.core.names import is_below, outermost, split
from pacha.core.shown import shown
from pacha.core.tracked import Row, Vanished
from pacha.core.who import Origin
from pacha.ops import aside
from pacha.ops.capture import Difference, record
from pacha.ops.heal import (
    deployed_by,
    is_kept,
    is_open,
    is_pushed,
    is_undone,
    keep_record,
    mend_store,
)
from pacha.ops.look import Look
from pacha.ops.moments import Ran
from pacha.ops.scan import Finding
from pacha.ops.tip import tip_of

if TYPE_CHECKING:
    from pacha.ops.host import Host
    from pacha.ops.ports import Journal, Spool

_CAUSE, _UNDO = "push", "undo"
_IS_RECORDED = "is_recorded"  # in the outcome of a journal that waits


class State(NamedTuple):
    """A path as it was at some moment; the content as the store is to keep it, where there is one."""

    path: bytes
    entry: Entry | None
    data: bytes | None


def settle(host: Host, journal: Journal) -> None:
    """Record what the applied push of a journal found and made, and remove the journal. Under the lock.

    What waits to be confirmed stays there; of that, as of what was undone, only what is watched already is
    recorded, so that no capture is taken for its author. Where a hook or admission says no, that is told, and
    the live files are left to the captures to come.
    """
    header, outcome = journal.header, journal.outcome
    deployed, watched = deployed_by(journal), list[bytes]()
    if not is_open(journal) and not is_undone(journal):
        keep_record(host, deployed)
        watched = _watch(host, journal, deployed)
    hooks = [Ran(**ran) for ran in outcome.get("hooks", ())]
    origin = Origin(header["author"], ())
    target = header["target"]
    before, after = _before(journal), _after(journal)
    if outcome.get(_IS_RECORDED):
        before, after = (
            [state for state in states if any(is_below(state.path, top) for top in watched)]
            for states in (before, after)
        )
    try:
        _record(host, before, f"before the push of {target}", origin, ())
        after += _there_already(host, journal, deployed, watched)
        _record(host, after, f"push of {target}", origin, hooks)
        if is_undone(journal):
            _record_undone(host, journal)
    except (HookFailed, Refused) as problem:
        host.report.note(f"the push of {target} is not in the history: {problem}")
    if not is_open(journal):
        if outcome.get("aside"):
            aside.drop(host, journal)
        journal.discard()
    elif not outcome.get(_IS_RECORDED):
        journal.mark_applied({**outcome, _IS_RECORDED: True}, durably=True)


def _record_undone(host: Host, journal: Journal) -> None:
    look = Look(host)
    states = [_now(host, look, step.path) for step in journal.steps]
    message = f"undone: push of {journal.header['target']}: {journal.outcome['why']}"
    _record(host, states, message, Origin(host.author, ()), (), cause=_UNDO)


def record_pushes(host: Host) -> None:
    """Settle what applied pushes have left, and nothing else: the lock of the history is enough, so that the
    next push need not wait. `host.lock` must be that one.
    """
    with host.lock:
        mend_store(host)
        for journal, complete in list(host.journals.all()):
            # What is not known to be deployed yet is kept by the next push, which is at work maybe.
            if not is_pushed(journal, complete):
                continue
            if is_undone(journal) or is_kept(host, deployed_by(journal)):
                settle(host, journal)


def record_live(host: Host, paths: Iterable[bytes], message: str) -> None:
    """Record some paths as they are now, and watch them from then on."""
    paths = list(paths)
    if new := [path for path in paths if host.rules.watch_of(path) is None]:
        host.track(new)
    look = Look(host)
    with host.lock:
        _record(host, [_now(host, look, path) for path in paths], message, Origin("unknown", ()), ())


def _now(host: Host, look: Look, path: bytes) -> State:
    """A path as it is; what cannot be read counts as absent, as it is not recorded as anything else."""
    try:
        found = look.reading(path)
    except (OSError, Vanished):
        found = None
    if found is None:
        return State(path, None, None)
    entry, data = found.entry, found.data
    if entry.secret is not None and data is not None:
        entry, data = entry._replace(sealed=host.secrets.sealed), host.secrets.close(data)
    return State(path, entry, data)


def _before(journal: Journal) -> list[State]:
    return [
        State(step.path, step.before, None if step.before_data is None else journal.get(step.before_data))
        for step in journal.steps
    ]


def _after(journal: Journal) -> list[State]:
    states = []
    for step in journal.steps:
        blob = step.after_data
        if blob is None and step.before is not None and step.after is not None:
            blob = step.before_data  # of what was changed in place, the content stayed
        states.append(State(step.path, step.after, journal.get(blob) if blob is not None else None))
    return states


def _there_already(host: Host, journal: Journal, deployed: Deployed, watched: Sequence[bytes]) -> list[State]:
    """What is newly watched and was as it shall be before the push, unless somebody has changed it since."""
    look, touched = Look(host), {step.path for step in journal.steps}
    new = [
        path
        for path, entry in deployed.entries.items()
        if entry is not None and path not in touched and any(is_below(path, top) for top in watched)
    ]
    states = [_now(host, look, path) for path in new]
    return [state for state in states if facet(state.entry) == facet(deployed.entries[state.path])]


def _watch(host: Host, journal: Journal, deployed: Deployed) -> list[bytes]:
    """What was deployed is watched from then on: the new watches. Where this account may not write its own
    configuration, as where root lays it down, what that watches is recorded, and the rest is told.
    """
    # What went is, too: what it held belongs into the history.
    touched = [step.path for step in journal.steps if step.before is None or step.after is None]
    present = [path for path, entry in deployed.entries.items() if entry is not None]
    wanted = [path for path in outermost([*touched, *present]) if host.rules.watch_of(path) is None]
    new = [path for path in wanted if _can_be_named(path)]
    for path in wanted:
        if path not in new:
            words = "its name is not UTF-8; pacha watch the directory that it is in"
            host.report.note(f"what was pushed is not watched: {shown(path)}: {words}")
    if new:
        try:
            host.track(new)
        except ReadOnly as problem:
            host.report.note(f"what was pushed is not watched: {problem}")
            return []
    return new


def _can_be_named(path: bytes) -> bool:
    """Whether a configuration file can name it."""
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


def _record(
    host: Host,
    states: Sequence[State],
    message: str,
    origin: Origin,
    hooks: Sequence[Ran],
    cause: str = _CAUSE,
) -> None:
    """One revision in which the paths are so; none where they are so already."""
    tip_of(host)
    spool = host.new_spool()
    try:
        findings = [finding for state in states for finding in _findings(host, state, spool)]
        if findings:
            changes = merge((f.path, f.row and f.row.line, f.entry) for f in findings)
            seen = Difference(findings, [], changes, [], [], (), {}, spool)
            record(host, [], cause=cause, message=message, origin=origin, earlier_hooks=hooks, seen=seen)
    finally:
        spool.close()


def _findings(host: Host, state: State, spool: Spool) -> list[Finding]:
    """What the history does not have yet of a path's state: a directory's entry stands in itself, every
    other in the one above.
    """
    if not host.rules.covers(state.path, state.entry is not None and state.entry.kind == DIRECTORY):
        return []
    own, above = (state.path, b"."), split(state.path)
    found = []
    for key, is_meant in ((own, DIRECTORY), (above, None)):
        row = host.index.row(*key)
        is_here = state.entry is not None and (state.entry.kind == DIRECTORY) == (is_meant is DIRECTORY)
        if is_here:
            assert state.entry is not None
            found += _finding(host, key, row, state.entry, state.data, spool)
        elif row is not None:
            found.append(Finding(*key, row, None))
    return found


def _finding(
    host: Host, key: tuple[bytes, bytes], row: Row | None, entry: Entry, data: bytes | None, spool: Spool
) -> list[Finding]:
    if entry.has_content and data is None:
        return []  # it was changed in no way that needed its content: the next capture reads it
    if entry.has_content and data is not None and len(data) > host.rules.size:
        # As a capture has it that finds such a file: its metadata and its digest.
        entry, data = entry._replace(size=len(data), sealed=None), None
    if row is not None and is_same(row.line, render_entry(entry)):
        return []
    blob = spool.put(data) if data is not None else None
    return [Finding(*key, row, entry, data=blob)]
