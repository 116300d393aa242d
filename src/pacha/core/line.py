"""How this host's line of revisions stands to the one that a server has, and what a server has acknowledged.

Called by `ops/send` and `ops/status`. Pure: what was found out on both sides is handed in. Positions count
from 0 along this host's own line; -1 is before its first revision.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Stand = Literal["same", "ahead", "lost", "behind", "forked", "foreign"]


class Known(NamedTuple):
    """What a server tells of itself and of this host's line there; sizes in bytes."""

    protocol: int
    host: str
    tip: str  # full hash of its newest revision, empty where it has none
    seq: int
    machine: str  # machine-id that the line there belongs to, empty where none is known
    used: int
    quota: int
    forgotten: int = 0  # when contents last went from the history there; below 0: at this moment


class Listing(NamedTuple):
    """What a server tells of one of the histories that it keeps, to who may read them all; `tip` is empty
    where it does not know, and `forgotten` as in Known.
    """

    host: str
    tip: str
    forgotten: int


class Acknowledged(NamedTuple):
    """What the index remembers of one server; `node` is empty where it never acknowledged anything."""

    address: str
    node: str = ""
    seq: int = 0
    time_ns: int = 0
    since_ns: int | None = None  # the first failure since then
    error: str = ""
    used: int = 0
    quota: int = 0

    def backlog(self, tip: str, seq: int) -> int:
        """How many revisions wait, the newest being `tip` with the number `seq`."""
        return 0 if self.node == tip else max(seq - self.seq, 1) if tip else 0


def stand(*, newest: int, theirs: int, common: int, acknowledged: int) -> Stand:
    """How the line up to the position `newest` stands to the server's.

    `theirs` is where in this line the server's newest revision is (-1: it has none at all, -2: it is not in
    this line); `common` the last position that both have; `acknowledged` where the server once was.

    same     nothing to do
    ahead    the server is to get what comes after `theirs`
    lost     the same, and the server has lost what it once had: it was restored from an old backup, or reset
    behind   the server has more: this disk was restored
    forked   both have more
    foreign  nothing in common, and both have something
    """
    if theirs == newest:
        return "same"
    if theirs >= -1:
        return "lost" if acknowledged > theirs else "ahead"
    if common == newest:
        return "behind"
    return "forked" if common >= 0 else "foreign"
