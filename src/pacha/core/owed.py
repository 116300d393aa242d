"""What a machine that goes on with a host's line still owes it: `facts/owed` of a store.

Called by `ops/owed`, which brings it in, and by captures and rebuilds, which write it. It is there from the
revision with the machine's own state until a rebuild was whole, and each revision in between carries it:

    aim 0f3c…             the full hash of the revision that was to be brought back
    exact                 as it was then, whatever that owed itself
    since 1764…           when this was written, in nanoseconds: each time makes another text

It must not read a store.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pacha.core.names import FACTS

OWED = FACTS + b"/owed"
_FORM = re.compile(rb"aim ([0-9a-f]{40})\n(exact\n)?since [0-9]{1,20}\n")


class Aim(NamedTuple):
    """The revision that was to be brought back; `is_exact`: what that owed itself was not wanted."""

    node: str
    is_exact: bool


def render(aim: Aim, now_ns: int) -> bytes:
    """The text."""
    exact = b"exact\n" if aim.is_exact else b""
    return b"aim %s\n%ssince %d\n" % (aim.node.encode(), exact, now_ns)


def parse(text: bytes) -> Aim:
    """Undo `render`. Raise ValueError for any other text."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("what is owed is told in no known form")
    return Aim(found[1].decode(), found[2] is not None)
