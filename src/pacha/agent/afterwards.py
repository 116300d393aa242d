"""The `post-capture` hooks of the agent: run one after another beside its captures, which never wait.

Made by `agent/captures` in the worker's process, in the place of the host's own hooks. A notification that
takes a minute must not keep the next change from being recorded. All other moments run at once, as
everywhere: they may stop what is at hand. What a hook is told is found out at once, too, as the store is not
to be asked from two threads.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pacha.ops.ports import HookResult, Hooks

LATER = "post-capture"
# So many may wait, each with its difference; then the captures wait after all.
_WAIT_AT_MOST = 256


class Afterwards:
    """Hooks, of which those of one moment run later; `note` says in words which of them failed."""

    def __init__(self, hooks: Hooks, note: Callable[[str], None]) -> None:
        """Run all others by `hooks`."""
        self._hooks = hooks
        self._note = note
        self._waiting: queue.Queue[Callable[[], Sequence[HookResult]]] = queue.Queue(_WAIT_AT_MOST)
        self._thread: threading.Thread | None = None

    def names(self, moment: str) -> Sequence[str]:
        """What is there for a moment."""
        return self._hooks.names(moment)

    def run(
        self,
        moment: str,
        payload: Mapping[str, Any],
        *,
        more: Callable[[], Mapping[str, Any]] | None = None,
        **told: Any,
    ) -> Sequence[HookResult]:
        """Run the hooks of a moment and tell how they ended; nothing yet of those that run later."""
        if moment != LATER:
            return self._hooks.run(moment, payload, more=more, **told)
        try:
            if not self._hooks.names(moment):
                return []
        except OSError:  # in words by whoever runs them
            pass
        whole = {**payload, **(more() if more else {})}
        self._waiting.put(lambda: self._hooks.run(moment, whole, **told))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        return []

    @property
    def is_busy(self) -> bool:
        """Whether any are still to run, or at it."""
        return self._waiting.unfinished_tasks > 0

    def finish(self) -> None:
        """Wait until all have ended."""
        self._waiting.join()

    def _work(self) -> None:
        while True:
            run = self._waiting.get()
            try:
                for result in run():
                    if result.exit != 0:
                        self._note(f"the hook {LATER}/{result.name} failed (exit {result.exit})")
            except OSError as problem:
                self._note(f"the hooks of {LATER} could not be run: {problem}")
            finally:
                self._waiting.task_done()
