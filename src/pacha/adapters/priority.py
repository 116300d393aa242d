"""How soon this process runs when there is something for it to do.

Called by the agent, which has to look at a writer that may live for a fifth of a millisecond, and by its
worker, which is in no hurry, by what a push leaves to be done, and by who waits for that. It never fails:
without the right to it, things stay as they are.
"""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import suppress

_NUMBERS = {"x86_64": 314, "aarch64": 274}  # of sched_setattr(2)
# Its argument: its size, policy 0 (an ordinary process), flags, nice, priority, runtime, deadline and period.
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
_RESET_ON_FORK = 0x1
_PROMPT, _PATIENT = -10, 5
# Linux 6.12 and later take this for the time that we want at once: who wants little is let in soon.
_SLICE_NS = 100_000


def be_prompt() -> None:
    """Run at once when woken up, for a moment; what is forked from here is ordinary again."""
    number = _NUMBERS.get(os.uname().machine)
    values = _ATTRIBUTES.pack(_ATTRIBUTES.size, 0, _RESET_ON_FORK, _PROMPT, 0, _SLICE_NS, 0, 0)
    if number is None or ctypes.CDLL(None).syscall(number, 0, values, 0) != 0:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, _PROMPT)
        except OSError:  # only root may
            pass


def be_idle() -> None:
    """Run when nothing else wants to."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def hasten(pid: int) -> None:
    """Let a process that is idle in this sense, and what it has started, run like any other: somebody waits
    for it.
    """
    with suppress(OSError, ValueError):
        for each in (pid, *_children(pid)):
            if os.sched_getscheduler(each) == os.SCHED_IDLE:
                os.sched_setscheduler(each, os.SCHED_OTHER, os.sched_param(0))


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def be_patient() -> None:
    """Let what people do with the machine come first."""
    os.setpriority(os.PRIO_PROCESS, 0, max(_PATIENT, os.getpriority(os.PRIO_PROCESS, 0)))
