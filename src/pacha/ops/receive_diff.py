"""What a push would change in contents, as unified diffs: for dry runs, for who asks, and for who is told
that somebody else's change is in the way.

Called by `ops/receive` before anything is touched. It must not show what `[secrets]` names, and its length
and time are bounded: it is sent to the pusher, once for each host.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pacha.core.entry import FILE
from pacha.core.plan import METADATA, Step
from pacha.core.shown import shown
from pacha.core.tracked import Vanished
from pacha.core.unified import GivenUp, hunks
from pacha.ops.look import Look
from pacha.ops.told import path_object

if TYPE_CHECKING:
    from pacha.ops.host import Host

LONGEST = 256_000  # characters of all of them
_FILE_AT_MOST = 2_000_000
_PATIENCE = 2.0  # seconds for all of them


def diffs(host: Host, steps: Sequence[Step], content: Callable[[bytes], bytes]) -> list[dict[str, Any]]:
    """`[{path, diff}]` of each step that changes a content; `content(path)` is what a file shall hold."""
    look, deadline, room = Look(host), time.monotonic() + _PATIENCE, LONGEST
    found = []
    for step in steps:
        if step.action == METADATA or not any(e and e.kind == FILE for e in (step.before, step.after)):
            continue
        text = _diff(host, look, step, content, lambda: time.monotonic() > deadline)
        if len(text) > room:
            text = "the differences are too long to be shown\n"
        room -= len(text)
        found.append({**path_object(step.path), "diff": text})
    return found


def _diff(
    host: Host, look: Look, step: Step, content: Callable[[bytes], bytes], is_enough: Callable[[], bool]
) -> str:
    if host.secrets.named.covers(step.path):
        return "content not shown, as [secrets] says\n"
    old = new = b""
    if step.before is not None and step.before.kind == FILE:
        try:
            reading = look.reading(step.path)
        except (OSError, Vanished):
            reading = None
        old = (reading and reading.data) or b""
    if step.after is not None and step.after.kind == FILE:
        new = content(step.path)
    if b"\0" in old or b"\0" in new:
        return "it is no text\n"
    if max(len(old), len(new)) > _FILE_AT_MOST:
        return "it is too large for its differences to be shown\n"
    name = shown(step.path).encode()
    head = [b"--- %s\n" % (name if step.before else b"/dev/null")]
    head.append(b"+++ %s\n" % (name if step.after else b"/dev/null"))
    try:
        lines = [*head, *hunks(old.splitlines(keepends=True), new.splitlines(keepends=True), is_enough)]
    except GivenUp:
        return "comparing took too long\n"
    whole = (line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n" for line in lines)
    return b"".join(whole).decode("utf-8", "replace")
