"""The old file of a name that has others (hard links), kept under a temporary name until the plan is settled.

Called by `ops/apply` for a plan that is a whole, and by what undoes or settles it. To go back, the name must
be that very file again: a copy would part it from its other names. The temporary name follows from journal
and path, so whoever undoes the plan finds it; it lies in the next directory above that stays.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from pacha.core.digests import hexdigest
from pacha.core.entry import DIRECTORY, FILE
from pacha.core.names import split
from pacha.core.rules import TEMPORARY_PREFIX, TEMPORARY_SUFFIX

if TYPE_CHECKING:
    from os import stat_result

    from pacha.core.plan import Step
    from pacha.core.tracked import Recorded
    from pacha.ops.host import Host
    from pacha.ops.ports import Journal

_DIGITS = 16
Steps = Mapping[bytes, "Step | Recorded"]  # of the plan, by path


def is_linked(status: stat_result) -> bool:
    """Whether it is a file with several names."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink > 1


def keep(host: Host, plan: str, path: bytes, steps: Steps) -> None:
    """Give the file another name, before the plan (by its name) takes this one away. What cannot be kept, as
    its owner is another and this is not root, becomes a file of its own when it is put back.
    """
    place, name = _place(plan, path, steps)
    with suppress(OSError), host.tree.directory(place) as directory:
        bench = host.tree.workbench(directory)
        bench.discard(name)
        source, last = split(path)
        with host.tree.directory(source) as beside:
            bench.name_again(beside, last, name)


def bring_back(host: Host, journal: Journal) -> None:
    """Let each kept file take its place again, which is that of a copy by now."""
    for place, name, path in _kept(journal):
        with suppress(OSError), host.tree.directory(place) as directory:
            if directory.lstat(name) is not None:
                source, last = split(path)
                with host.tree.directory(source) as beside:
                    host.tree.workbench(directory).move(name, beside, last)


def drop(host: Host, journal: Journal) -> None:
    """Nobody needs them any more."""
    for place, name, _ in _kept(journal):
        with suppress(OSError), host.tree.directory(place) as directory:
            host.tree.workbench(directory).discard(name)


def names(journal: Journal) -> set[bytes]:
    """Those that may be there."""
    return {name for _, name, _ in _kept(journal)}


def _kept(journal: Journal) -> list[tuple[bytes, bytes, bytes]]:
    """(directory, temporary name, path) of each file that the plan takes away."""
    by_path = {step.path: step for step in journal.steps}
    return [
        (*_place(journal.id, step.path, by_path), step.path)
        for step in journal.steps
        if step.before is not None and step.before.kind == FILE
    ]


def _place(plan: str, path: bytes, steps: Steps) -> tuple[bytes, bytes]:
    directory = split(path)[0]
    while _is_taken_away(steps.get(directory)):
        directory = split(directory)[0]
    digest = hexdigest(plan.encode() + b"\0" + path)[:_DIGITS]
    return directory, TEMPORARY_PREFIX + digest.encode() + TEMPORARY_SUFFIX


def _is_taken_away(step: Step | Recorded | None) -> bool:
    return step is not None and (step.after is None or step.after.kind != DIRECTORY)
