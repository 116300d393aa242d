"""Memory that the process has freed, given back to the system.

Called by the agent after a storm: the C library keeps what was freed, and an idle agent would look as large
as it once was.
"""

from __future__ import annotations

import ctypes
import gc


def give_memory_back() -> None:
    """Free what is of no use any more; nothing where the C library has no way to."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own
    if trim is not None:
        trim(0)
