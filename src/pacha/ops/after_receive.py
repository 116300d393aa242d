"""Run the `post-receive` hooks for every revision of a host that they were not told of yet, in order.

Called on a server, by a process of its own that nobody waits for: the revisions are stored and acknowledged.
One at a time runs for each host. A hook that fails is told in the log and stops nothing; one that is killed
with this process runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from pacha.core.revision import Revision
from pacha.ops.diff_text import diff_at
from pacha.ops.history import changes_between, newest
from pacha.ops.host import Past
from pacha.ops.ports import Hooks
from pacha.ops.told import revision_object

MOMENT = "post-receive"


class Marks(Protocol):
    """How far the hooks of a host have been told."""

    def hooked(self, name: str) -> str | None: ...
    def set_hooked(self, name: str, node: str) -> None: ...
    def hooking(self, name: str) -> AbstractContextManager[bool]: ...


class Told(Protocol):
    """Where the end of a hook is told."""

    def __call__(self, revision: Revision, hook: str, code: int, output: str) -> None: ...


def after_receive(
    opened: Callable[[], Past],
    hooks: Hooks,
    marks: Marks,
    told: Told,
    secrets: Sequence[str],
    note: Callable[[str], None],
) -> int:
    """Do it, unless another does for this host; how many revisions the hooks were told of.

    `opened` gives the history as it is at that moment.
    """
    count = 0
    while True:
        past = opened()
        with marks.hooking(past.name) as is_alone:
            if not is_alone:
                return count
            done = _run(past, hooks, marks, told, secrets, note)
            count += done
        # Who came while the lock was let go of has left it to us.
        if not done:
            return count


def _run(
    past: Past, hooks: Hooks, marks: Marks, told: Told, secrets: Sequence[str], note: Callable[[str], None]
) -> int:
    waiting = _waiting(past, marks.hooked(past.name))
    for left, revision in zip(reversed(range(len(waiting))), waiting, strict=True):
        at = revision.position
        changes = changes_between(past, at - 1, at)
        results = hooks.run(
            MOMENT,
            {**revision_object(revision, changes, past.name), "revision": revision.id, "waiting": left},
            event=MOMENT,
            host=past.name,
            revision=revision.id,
            root="/",
            dry_run=False,
            output=lambda _hook, _line: None,
            more=lambda at=at, changes=changes: diff_at(past, at, changes, secrets, note),  # type: ignore[misc]
        )
        for result in results:
            told(revision, result.name, result.exit, result.output)
        marks.set_hooked(past.name, revision.node)
    return len(waiting)


def _waiting(past: Past, mark: str | None) -> list[Revision]:
    """Oldest first. A mark that the line does not have, after a reset, is none: then only the newest."""
    last = newest(past)
    if last is None or last.node == mark:
        return []
    if mark == "":
        return list(past.store.history())[::-1]
    found: list[Revision] = []
    for revision in past.store.history():
        if revision.node == mark:
            return found[::-1]
        found.append(revision)
    return [last]
