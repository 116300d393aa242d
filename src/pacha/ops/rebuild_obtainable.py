"""Which packages of a plan can be had at all, as far as that is known before the repositories are there.

Called by `ops/rebuild_plan`. A run tries them all the same: by then it has fetched what the repositories have
now. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pacha.core.packages import Deviation, PackageStep
from pacha.core.shown import printable
from pacha.ops.host import Host

_PROBES = 20
_NAMED_AT_MOST = 3


class Doubts(NamedTuple):
    """The steps, those that cannot be as planned with another reason; what is not to be had; and sentences
    for what is not known yet.
    """

    steps: list[PackageStep]
    deviations: list[Deviation]
    words: list[str]


def doubts(host: Host, steps: Sequence[PackageStep], is_settled: bool) -> Doubts:
    """What to think of packages of which no version is known; `is_settled` where the repositories are those
    that the run will use.
    """
    doubtful = [step for step in steps if step.is_doubtful]
    if not doubtful:
        return Doubts([*steps], [], [])
    if not (is_settled and _are_lists_there(host)):
        known = f"whether {_names(doubtful)} can be had is known once the repositories are there"
        return Doubts([*steps], [], [known])
    # A name that was only wished for may be one that other packages provide: that is found out by trying.
    missing = [step for step in doubtful if step.wanted is not None]
    wished = [step for step in doubtful if step.wanted is None]
    deviations = [Deviation(step.name, step.wanted, None, "it is not to be had") for step in missing]
    words = [f"no package is called {_names(wished)}: whether one provides it is not known"] if wished else []
    tried = [s._replace(reason=f"{s.reason}, which is not to be had") if s in missing else s for s in steps]
    return Doubts(tried, deviations, words)


def _are_lists_there(host: Host) -> bool:
    """Whether the package manager knows what its repositories have: something of what is installed, then."""
    probes = sorted(host.system.present())[:_PROBES]
    return bool(host.system.available(probes))


def _names(steps: Sequence[PackageStep]) -> str:
    names = [printable(step.name.decode("utf-8", "replace")) for step in steps]
    more = f" and {len(names) - _NAMED_AT_MOST:,} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more
