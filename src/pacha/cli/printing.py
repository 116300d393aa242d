"""How the verbs print what they share: captures, changes, steps, revisions.

Called by the verbs. Paths go out escaped, one a line, so that no name can forge a line of ours.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from pacha.core.changes import Change
from pacha.core.tracked import Skipped
from pacha.ops.capture import Captured
from pacha.ops.told import change_objects, path_object, skipped_objects
from pacha.ui.text import CHANGE_COLOURS, STEP_COLOURS, paint, plural, printable, shown, use_colour

if TYPE_CHECKING:
    from pacha.cli.session import Session
    from pacha.core.plan import Step
    from pacha.ops.apply import Done
    from pacha.ops.restore import Planned

T = TypeVar("T")
_SHOWN_AT_MOST = 20
BUT_NORMALIZED = ", but for volatile lines ([[normalize]])"


def captured_object(captured: Captured) -> dict[str, Any]:
    """The contract's fields of a capture."""
    return {
        "revision": captured.revision,
        "changed": change_objects(captured.changes),
        "skipped": skipped_objects(captured.skipped),
        "deferred": [path_object(path) for path in captured.deferred],
        "normalized": [path_object(path) for path in captured.normalized],
        "encrypted": [path_object(path) for path in captured.encrypted],
        "cleared": [path_object(path) for path in captured.cleared],
        "hooks": [{"name": r.name, "exit": r.exit, "output": r.output} for r in captured.hooks],
    }


def watching_object(session: Session, captured: Captured) -> dict[str, Any]:
    """The same, and all that is watched from now on."""
    watches = [path_object(path) for path in session.host.config.watch]
    return {**captured_object(captured), "watches": watches}


def capture_exit(captured: Captured) -> int:
    """0, or 3 where something could not be read."""
    return 3 if any(item.failed for item in captured.skipped) else 0


def print_captured(captured: Captured, *, verbose: bool, quiet: bool) -> None:
    """What a capture recorded, and what it could not; `quiet`, only the latter."""
    if quiet:
        print_skipped(captured.skipped)
        return
    if captured.revision is None:
        print(f"nothing has changed{BUT_NORMALIZED if captured.normalized else ''}")
    else:
        what = plural(len(captured.changes), "change") if captured.changes else "packages or repositories"
        print(f"{captured.revision}  {what}")
        print_changes(captured.changes, 0 if verbose else _SHOWN_AT_MOST)
    print_skipped(captured.skipped)
    for path in captured.deferred:
        print(f"  later     {shown(path)}  changes too often: captured every 10 minutes")


def print_changes(changes: Sequence[Change], most: int = 0) -> None:
    """One line a change, at most `most` of them (0: all)."""
    colour = use_colour()

    def words(change: Change) -> str:
        return f"{paint(change.change.ljust(8), CHANGE_COLOURS[change.change], colour)}  {shown(change.path)}"

    print_some(changes, words, most)


def print_some(items: Sequence[T], words: Callable[[T], str], most: int, to: TextIO | None = None) -> None:
    """One line each, at most `most` of them (0: all), and how many more there are."""
    for item in items[: most or None]:
        print(f"  {words(item)}", file=to)
    if most and len(items) > most:
        print(f"  … and {len(items) - most:,} more (-v shows all)", file=to)


def step_words(planned: Planned, step: Step, colour: bool) -> str:
    """A step of a plan: why it is one, or why it cannot be done."""
    action = paint(step.action.ljust(8), STEP_COLOURS[step.action], colour)
    noted = planned.notes.get(step.path, step.reason)
    reason = f"CANNOT BE DONE: {step.refused}" if step.refused else noted
    return f"{action}  {shown(step.path)}  {printable(reason)}"


def print_not_done(results: Iterable[Done]) -> None:
    """Which steps came to nothing and why, on standard error."""
    for result in results:
        if not result.ok:
            sys.stderr.write(f"  not done  {shown(result.step.path)}  {printable(result.reason)}\n")


def print_skipped(skipped: Iterable[Skipped]) -> None:
    """What could not be taken as it is, on standard error."""
    sys.stdout.flush()
    for item in skipped:
        sys.stderr.write(f"  skipped   {shown(item.path)}  {item.reason}\n")
