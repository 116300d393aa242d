"""Undo by the images of a journal: put live files back as they were before a plan, whatever has become of the
store.

Called by `ops/receive` where a push fails, and by `ops/heal` where one was cut off, or was not confirmed in
time. It needs neither index nor Mercurial, but where somebody has changed meanwhile what is about to be put
back: that goes into the history first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from pacha.core.deployed import facet
from pacha.core.entry import Entry
from pacha.core.errors import PachaError
from pacha.core.plan import Step, build
from pacha.core.shown import shown
from pacha.core.tracked import Blob
from pacha.ops import aside
from pacha.ops.apply import Apply, Done
from pacha.ops.heal import UNDONE, remove_temporaries
from pacha.ops.look import Look
from pacha.ops.moments import run_hooks
from pacha.ops.services import serve_again

if TYPE_CHECKING:
    from pacha.core.tracked import Recorded
    from pacha.ops.host import Host
    from pacha.ops.ports import Journal, Spool


def undo_push(host: Host, journal: Journal, why: str) -> str:
    """Undo a push that nobody attends to any more: files, services, and then its `on-failure` hooks. What is
    not as it was, in words.

    Under the lock of live files. Killed anywhere, the same again finishes it. Where others have seen what the
    push made, the journal stays until that is in the history.
    """
    was_applied = journal.is_applied
    if left := put_back(host, journal):
        return left
    serve_again(host, journal.outcome.get("services", ()))
    files = {name: journal.get(Blob(*place)) for name, place in journal.header.get("on_failure", {}).items()}
    told = {"operation": "push", "error": {"kind": "undone", "message": why}}
    with host.stage(files) as theirs:
        for hooks in (host.hooks, theirs):
            run_hooks(host, "on-failure", told, revision=None, hooks=hooks)
    target = journal.header["target"]
    if was_applied:
        host.report.note(f"the push of {target} was undone: {why}")
        journal.mark(UNDONE, {**journal.outcome, "why": why, "deadline_ns": None}, durably=True)
    else:
        host.report.note(f"a push of {target} was interrupted: everything was put back; push again")
        journal.discard()
    return ""


def put_back(host: Host, journal: Journal) -> str:
    """Make each path of the journal's plan what it was before. Those that cannot be, in words.

    Under the lock of live files. Killed anywhere, the journal is still there, and the same again finishes it.
    """
    remove_temporaries(host, journal, aside.names(journal))
    look = Look(host)
    before = {step.path: step.before for step in journal.steps if step.before is not None}
    touched = {step.path for step in journal.steps}
    for path in touched:
        look.at(path)
    _keep_what_is_neither(host, journal, look.entries)
    steps = build(look.entries, before, lambda path, _entry: path in touched)
    images = {step.path: step.before_data for step in journal.steps}

    def contents(wanted: Sequence[Step]) -> Iterator[bytes | None]:
        for step in wanted:
            blob = images.get(step.path)
            yield journal.get(blob) if blob is not None else None

    results: list[Done] = []
    if steps:
        with closing(host.new_spool()) as spool:
            work = Apply(host, _Unkept(spool), steps)
            work.prepare({}, contents, None)
            results = work.run()
    aside.bring_back(host, journal)
    left = [f"{shown(done.step.path)}: {done.reason}" for done in results if not done.ok]
    for words in left:
        host.report.note(f"could not be put back: {words}")
    return left[0] + (f", and {len(left) - 1} more" if len(left) > 1 else "") if left else ""


class _Unkept:
    """What `ops/apply` takes for a journal: the one that is being undone stays, and is all that is needed. So
    an undo writes nothing but live files, also where the disk of the state is full.
    """

    def __init__(self, spool: Spool) -> None:
        self.put = spool.put
        self.get = spool.get

    def arm(self, header: dict[str, Any], steps: Iterable[Recorded], deadline_ns: int | None) -> None:
        """There is nothing to write down."""


def _keep_what_is_neither(host: Host, journal: Journal, live: dict[bytes, Entry]) -> None:
    """Record what is neither as before the plan nor as after it: somebody's work since."""
    others = [
        step.path
        for step in journal.steps
        if facet(live.get(step.path)) not in (facet(step.before), facet(step.after))
    ]
    if others:
        from pacha.ops.pushed import record_live

        try:
            verb, target = journal.header["verb"], journal.header["target"]
            record_live(host, others, f"before undoing the {verb} of {target}")
        except (PachaError, OSError) as problem:  # what is wrong with the history must not keep this from it
            names = ", ".join(map(shown, others))
            host.report.note(f"what was changed meanwhile is not in the history ({problem}): {names}")
