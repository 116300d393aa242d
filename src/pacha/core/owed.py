"""What a machine that goes on with a host's line still owes it: `facts/owed` of a store.

Called by `ops/owed`, which brings it in, and by captures and rebuilds, which write it. It is there from the
revision with the machine's own state until a rebuild was whole, and each revision in between carries it:

    aim 0f3c…             the full hash of the revision that was to be brought back
    exact                 as it was then, whatever that owed itself
    own                   the machine was the host until then: taken back, it owes what it owed before
    since 1764…           when this was written, in nanoseconds: each time makes another text

It must not read a store.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pacha.core.names import FACTS

OWED = FACTS + b"/owed"
_FORM = re.compile(rb"aim ([0-9a-f]{40})\n(exact\n)?(own\n)?since [0-9]{1,20}\n")


class Aim(NamedTuple):
    """The revision that was to be brought back; `is_exact`: what that owed itself was not wanted; `is_own`:
    the machine was the host when it began.
    """

    node: str
    is_exact: bool
    is_own: bool = False


def render(aim: Aim, now_ns: int) -> bytes:
    """The text."""
    marks = b"exact\n" * aim.is_exact + b"own\n" * aim.is_own
    return b"aim %s\n%ssince %d\n" % (aim.node.encode(), marks, now_ns)


def parse(text: bytes) -> Aim:
    """Undo `render`. Raise ValueError for any other text."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("what is owed is told in no known form")
    return Aim(found[1].decode(), found[2] is not None, found[3] is not None)
