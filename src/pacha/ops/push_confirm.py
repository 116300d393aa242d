"""Whether a host that was pushed to can still be reached, and so keeps what it got: asked again and again
until the host has said yes or no, or its time is over.

Called by `ops/push`, once for each host that waits to be told, or whose connection was lost before it could
say whether it does: what was pushed may have cut it, and another goes through. It must not connect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pacha.core.answer import CHANGED, FAILED, REVERTED, UNDONE, Ended, Outcome, broken, is_last
from pacha.core.answer import outcome as outcome_of
from pacha.core.ssh_trouble import Trouble

_PAUSE = 1.0  # seconds between two tries
_LONGER = 7.0  # seconds after which the host has certainly undone it, and may say so
_AT_WORK = "busy"  # its scripts may take a while yet


class Confirming:
    """One host; `found` is how its push had ended, by all that is known."""

    def __init__(self, found: Outcome, seconds: float, now: float) -> None:
        self._found = found
        self._seconds = seconds
        self._end = now + seconds + _LONGER
        self._next: float | None = now
        self._was_heard = False  # the host may have kept it, and its answer got lost
        self._trouble = found.trouble
        self._outcome: Outcome | None = None

    def is_to_try(self, now: float) -> bool:
        """Whether it is time to ask."""
        return self._next is not None and now >= self._next

    def try_again(self) -> None:
        """It is being asked."""
        self._next = None

    def hear(self, said: Mapping[str, Any], now: float) -> None:
        """A line of the host's answer."""
        self._was_heard = True
        if not is_last(said):
            return
        told = outcome_of(self._found.destination, said, 0.0)
        if told.is_done:
            answer = self._found.answer or {"steps": [], "hooks": [], **said}
            kept = self._found._replace(state=CHANGED, trouble=None, answer={**answer, "confirmed": True})
            self._outcome = kept
        elif told.trouble is not None and told.trouble.kind == UNDONE:
            self._outcome = self._undone(told.trouble)
        else:
            self._was_heard = False  # it has said no, and may be asked again
            if told.trouble is not None and told.trouble.kind == _AT_WORK:
                self._end = now + self._seconds + _LONGER
            self._wait(told.trouble, now)

    def lose(self, end: Ended, now: float) -> None:
        """The connection is gone, or could not be made."""
        if trouble := broken(end, "", 0.0).trouble:
            self.miss(trouble, now)

    def miss(self, trouble: Trouble, now: float) -> None:
        """There was no answer."""
        if self._outcome is None and self._next is None:
            self._wait(trouble, now)

    def outcome(self, now: float) -> Outcome | None:
        """How it ended, once that stands."""
        if self._outcome is None and self._next is not None and now >= self._end:
            self._outcome = self._given_up()
        return self._outcome

    def _wait(self, trouble: Trouble | None, now: float) -> None:
        self._trouble = trouble or self._trouble
        self._next = now + _PAUSE

    def _undone(self, said: Trouble) -> Outcome:
        why = self._trouble or said
        words = f"not confirmed within {self._seconds:g} s: {why.message}"
        trouble = Trouble(UNDONE, words, why.hint or said.hint)
        return self._found._replace(state=REVERTED, trouble=trouble)

    def _given_up(self) -> Outcome:
        why = self._trouble.message if self._trouble is not None else "it did not answer"
        hint = "pacha status on the host tells what is there now"
        if self._was_heard:
            words = f"it did not say whether it keeps what was pushed: {why}"
            return self._found._replace(state=FAILED, trouble=Trouble("unconfirmed", words, hint))
        words = f"it could not be reached again for {self._seconds:g} s, and undoes it by itself: {why}"
        return self._found._replace(state=REVERTED, trouble=Trouble("unconfirmed", words, hint))
