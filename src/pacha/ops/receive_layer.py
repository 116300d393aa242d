"""A plan laid over the live tree, where nobody sees it but the hooks that are to check it.

Called by `ops/receive`, before anything is live. It must not run a hook, nor decide what a failure means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pacha.core.errors import Unavailable
from pacha.core.names import split
from pacha.core.plan import Step
from pacha.core.shown import shown
from pacha.ops.apply import Apply

if TYPE_CHECKING:
    from pacha.ops.host import Host

Images = Callable[[Sequence[Step]], Iterator[bytes | None]]  # the contents to be, in the order of the steps


@contextmanager
def laid(host: Host, steps: Sequence[Step], images: Images) -> Iterator[None]:
    """Make the plan's files in a layer, by the one writer that there is, for as long as this lasts. Raise
    Unavailable where that cannot be done here.
    """
    with host.preflight.laid(_directories(host, steps)) as (tree, journals):
        inside = host.within(tree)
        journal = journals.new("preflight")
        work = Apply(inside, journal, steps, whole=journal.id)
        work.prepare({"id": journal.id, "verb": "push"}, images, None)
        if work.failed is None:
            work.run()
        if work.failed is not None:
            raise Unavailable(f"{shown(work.failed.step.path)} over the live tree: {work.failed.reason}")
        yield


def _directories(host: Host, steps: Sequence[Step]) -> list[bytes]:
    """The directories over which a layer must lie so that the steps can be done in it."""
    found = set()
    for step in steps:
        directory = split(step.path)[0]
        while not host.tree.is_directory(directory):
            directory = split(directory)[0]
        found.add(directory)
    return sorted(found)
