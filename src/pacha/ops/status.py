"""Status: what is watched, what is not yet captured, and what needs a person.

Called by the verb. It changes nothing; where another Pacha is at work it tells what it can.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pacha.core import pace
from pacha.core.changes import Change
from pacha.core.revision import Revision
from pacha.core.tracked import Skipped
from pacha.ops.capture import look
from pacha.ops.confirm import waiting
from pacha.ops.heal import heal_if_free
from pacha.ops.host import Host
from pacha.ops.tip import last_of, tip_of


class Status(NamedTuple):
    """`missing` are watches that are not there; `paced` are files that change too often to be captured at
    once.
    """

    last: Revision | None
    entries: int
    pending: list[Change]
    skipped: list[Skipped]
    paced: list[bytes]
    missing: list[bytes]
    waiting: list[dict[str, Any]]

    @property
    def is_clean(self) -> bool:
        """Whether a monitoring check may be content."""
        return not (self.pending or self.skipped or self.missing or self.waiting)


def status(host: Host) -> Status:
    """Look at everything that is watched."""
    heal_if_free(host)
    tip_of(host)
    difference = look(host, None, None, None)
    now = host.now_ns()
    paced = [path for path, text in host.index.paces().items() if pace.is_paced(pace.parse(text), now)]
    missing = [path for path in host.config.watch if _is_missing(host, path)]
    return Status(
        last_of(host),
        host.index.count(),
        difference.changes,
        sorted(difference.skipped + _lasting(host, difference.skipped)),
        sorted(paced),
        missing,
        waiting(host),
    )


def _is_missing(host: Host, path: bytes) -> bool:
    try:
        return host.tree.lstat(path) is None
    except OSError:
        return False


def _lasting(host: Host, fresh: list[Skipped]) -> list[Skipped]:
    """What an earlier capture left out and the scan had no reason to look at again, such as a file too
    large.
    """
    known = {item.path for item in fresh}
    lasting = []
    for path, reason in host.index.skipped().items():
        if path not in known and reason.startswith("larger than"):
            lasting.append(Skipped(path, reason, False))
    return lasting
