"""What the kernel tells of a watched tree.

Made by `adapters/events`, read by the agent. An event says that something about a path is not as it was,
never what is there now: only a scan says that.
"""

from __future__ import annotations

from typing import NamedTuple

from pacha.core.who import Who


class Event(NamedTuple):
    """`path` is an entry of a marked directory, or such a directory itself, as the host has it.

    It is None where the queue overflowed: anything may have changed. `appeared` is true where the entry came
    (made here, or moved here), `left` where it went (removed, or moved away).
    """

    path: bytes | None
    is_directory: bool = False
    appeared: bool = False
    left: bool = False
    who: Who | None = None


class Unsupported(Exception):
    """This kind of mark cannot be set on that directory: another kind must do. The text says why."""


class LimitReached(Exception):
    """The kernel lets us mark no more; the text names the sysctl that says so."""
