"""What a signal that ends things does to a push: the first lets the hosts that are at work end, so that what
became of them can be told; the second is final.

Called by the verb `push`; itself no verb. Outside of `heeded` such a signal does what it does everywhere
(`ui/interrupts`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pacha.core.errors import Interrupted

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopping:
    """Whether, and by what, a push was stopped."""

    def __init__(self) -> None:
        self._number = signal.SIGINT

    @property
    def error(self) -> Interrupted:
        """What it ends with."""
        if self._number == signal.SIGINT:
            return Interrupted()
        return Interrupted("stopped by a signal", exit_code=128 + self._number)

    @contextmanager
    def heeded(self, stop: Callable[[], None]) -> Iterator[None]:
        """Meanwhile the first signal calls `stop`, but for one that the caller has ignored, as nohup does."""
        before: dict[signal.Signals, Any] = {}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def first(number: int, _frame: FrameType | None) -> None:
            self._number = signal.Signals(number)
            restore()
            _leave_terminal()
            stop()

        for number in _ENDING:
            if (handler := signal.getsignal(number)) is not signal.SIG_IGN:
                before[number] = handler
                signal.signal(number, first)
        try:
            yield
        finally:
            restore()


def _leave_terminal() -> None:
    """Where the terminal is gone, as SIGHUP tells, what is said goes nowhere, and stops nothing."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), descriptor)
