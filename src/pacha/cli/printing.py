"""How the verbs print what they share: captures, changes, steps, revisions.

Called by the verbs. Paths go out escaped, one a line, so that no name can forge a line of ours.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pacha.core.changes import Change
from pacha.core.tracked import Skipped
from pacha.ops.capture import Captured
from pacha.ops.told import change_objects, path_object, skipped_objects
from pacha.ui.text import CHANGE_COLOURS, paint, plural, shown, use_colour

if TYPE_CHECKING:
    from pacha.cli.session import Session

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
    for change in changes[: most or None]:
        print(
            f"  {paint(change.change.ljust(8), CHANGE_COLOURS[change.change], colour)}  {shown(change.path)}"
        )
    if most and len(changes) > most:
        print(f"  … and {len(changes) - most:,} more (-v shows all)")


def print_skipped(skipped: Iterable[Skipped]) -> None:
    """What could not be taken as it is, on standard error."""
    sys.stdout.flush()
    for item in skipped:
        sys.stderr.write(f"  skipped   {shown(item.path)}  {item.reason}\n")
