"""What one session may use of the machine, as the kernel sees to it.

Called by whatever runs in a session's process. They are soft limits: the process itself may lift them for
what is not the client's, such as the log and hooks.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

MEMORY = 512_000_000  # bytes of address space: what a bomb is stopped by


def limit(largest: int) -> None:
    """Bound memory, and the size to which a file may be written: with 0 nothing can be written at all."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, largest),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (most if hard < 0 else min(most, hard), hard))


def lift() -> None:
    """Give a process that goes on by itself the limits of the account."""
    for what in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_CPU, resource.RLIMIT_CORE):
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (hard, hard))


@contextmanager
def writable() -> Iterator[None]:
    """Let files be written meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
