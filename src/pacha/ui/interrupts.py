"""What a signal that ends things does to a command, by how far the command is.

Called by `cli/main`, and by `ui/result` before it says the outcome. At first such a signal raises
KeyboardInterrupt or Interrupted, once: what that undoes is not interrupted in turn. From the moment when the
outcome stands it changes nothing any more; to who sends another after a second, the rest is not worth
waiting for: the process ends at once, as if it were killed, which loses nothing.
"""

from __future__ import annotations

import atexit
import os
import signal
import time
from collections.abc import Callable

from pacha.core.errors import Interrupted

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SECOND = 1.0

_first: list[float] = []  # when it came


def heed() -> None:
    """From now on a signal interrupts, but for one that the caller has ignored, as nohup does."""
    _handle(_interrupt)
    # Python gives each signal its deadly meaning back a moment before it has ended.
    atexit.register(_handle, signal.SIG_IGN)


def settle() -> None:
    """From now on the outcome stands."""
    _handle(_insist)


def _handle(handler: Callable[[int, object], None] | signal.Handlers) -> None:
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _interrupt(number: int, _frame: object) -> None:
    settle()
    _first.append(time.monotonic())
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Interrupted("stopped by a signal", exit_code=128 + number)


def _insist(number: int, _frame: object) -> None:
    _first.append(time.monotonic())
    if _first[-1] - _first[0] > _SECOND:
        os._exit(128 + number)
