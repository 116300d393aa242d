"""The plan: the exact list of steps from what is to what shall be, in the order in which they can be done.

Called by every operation that writes live files (rollback; later rebuild and push), which hand it to
`ops/apply`. What a dry run prints is this list, and a run does this list. It must not look at the file
system.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pacha.core.changes import describe, summary
from pacha.core.entry import DIRECTORY, FILE, Entry

CREATE, REPLACE, METADATA, LINK, REMOVE = "create", "replace", "metadata", "link", "remove"


class Step(NamedTuple):
    """One entry to change. `refused` says why it must be left alone, empty where it can be done."""

    action: str
    path: bytes
    before: Entry | None
    after: Entry | None
    reason: str  # what differs, in words
    refused: str = ""


def decide(path: bytes, before: Entry | None, after: Entry | None) -> Step | None:
    """The step that makes `before` into `after`; None where nothing needs doing."""
    if before == after:
        return None
    if after is None:
        assert before is not None
        return Step(REMOVE, path, before, None, f"was not there: {summary(before, path)}")
    if before is None:
        return Step(CREATE, path, None, after, summary(after, path))
    if _settled(path, before, after):
        return None
    leads = after.link == path
    # The other names are linked to the first by steps of their own, and then it has got them.
    settled = before._replace(link=path) if leads and before.link is None else before
    reason = ", ".join(describe(path, settled, after))
    if not before.same_content(after):
        return Step(REPLACE, path, before, after, ", ".join(filter(None, ("content", reason))))
    if after.link is not None and after.link not in (path, before.link):
        return Step(LINK, path, before, after, reason)
    parted = before.link is not None and (after.link is None or (leads and before.link != path))
    if parted or before.holes != after.holes:
        return Step(REPLACE, path, before, after, reason)
    return Step(METADATA, path, before, after, reason or "metadata")


def _settled(path: bytes, before: Entry, after: Entry) -> bool:
    """Whether only such things differ as no step of this path can change.

    These are that it was unstable, for whom it is encrypted in the store, and the links of the first of a
    group: its followers are linked to it.
    """
    if after.link == path and before.link not in (None, path):
        return False  # it is a name of another file now
    link = after.link if after.link == path else before.link
    return before._replace(unstable=after.unstable, sealed=after.sealed, link=link) == after


def build(
    actual: Mapping[bytes, Entry],
    desired: Mapping[bytes, Entry],
    may_remove: Callable[[bytes, Entry], bool],
) -> list[Step]:
    """The ordered steps from `actual` to `desired`; what is only in `actual` goes where `may_remove` says so.

    Order: removals, the deepest first; then directories, parents first; then everything else, the first name
    of a group of hard links before the others; last the metadata of directories, the deepest first, so that a
    closed one can still be filled.
    """
    steps = []
    for path in actual.keys() | desired.keys():
        before, after = actual.get(path), desired.get(path)
        if after is None and before is not None and not may_remove(path, before):
            continue
        step = decide(path, before, after)
        if step is not None:
            steps.append(step)
    return sorted(steps, key=_order)


def _order(step: Step) -> tuple[int, object, bytes]:
    if step.action == REMOVE:
        return 0, -step.path.count(b"/"), step.path
    assert step.after is not None
    if step.after.kind == DIRECTORY:
        if step.action == METADATA:
            return 3, -step.path.count(b"/"), step.path
        return 1, 0, step.path
    return 2, int(is_follower(step)), step.path


def is_in_place(step: Step) -> bool:
    """Whether a change of metadata is one system call, or concerns every name of a file: done where it is."""
    assert step.before is not None and step.after is not None
    if step.after.link is not None or step.before.kind != FILE or step.after.size is not None:
        return True
    fields = ("mode", "mtime", "flags", "acl", "default_acl", "xattrs")
    differing = [f for f in fields if getattr(step.before, f) != getattr(step.after, f)]
    owner = (step.before.uid, step.before.gid) != (step.after.uid, step.after.gid)
    return len(differing) + owner <= 1 and not (owner and step.after.mode & 0o6000)


def needs_content(step: Step) -> bool:
    """Whether the step makes a file anew, for which its bytes must be had."""
    if step.after is None or step.after.kind != FILE:
        return False
    return step.action != METADATA or not is_in_place(step)


def is_follower(step: Step) -> bool:
    """Whether the entry is another name of a file whose first name is elsewhere."""
    return step.after is not None and step.after.link is not None and step.after.link != step.path


def reverse(steps: list[Step]) -> list[tuple[bytes, Entry | None, Entry | None]]:
    """(path, what is there after the plan, what was there before it) of each step: what an undo needs."""
    return [(step.path, step.after, step.before) for step in steps]
