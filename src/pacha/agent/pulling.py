"""The agent's pulling: which deployment is to be fetched from a server, when, and again when that failed.

Called by the loop, with the monotonic time. One is pulled at a time, in a forked process that ends with it: a
pull needs all that a push does, and the idle agent nothing of that. What is tried again soon is what may pass
by itself; the rest waits for its turn, or each try would run the hooks that fail. It must not import what
only that process needs.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol

from pacha.agent.ports import Log
from pacha.agent.worker import ENDED, Worker
from pacha.core.config import Config

_SECOND = 1_000_000_000
_SPREAD_NS = 30 * _SECOND  # of the first pulls after a start
_JITTER = 0.1  # of the interval, either way
_PASSING = {"busy": 5 * _SECOND, "unreachable": 30 * _SECOND, ENDED["kind"]: 30 * _SECOND}  # the first pause
_END_NS = 60 * _SECOND  # at the agent's end what was begun is finished: systemd kills the rest then


class Pulls(Protocol):
    """How the pulls before have ended; see `adapters/pulls`."""

    def of(self, name: str) -> dict[str, Any]: ...
    def note(self, name: str, now_ns: int, server: str, error: dict[str, str] | None) -> None: ...
    def keep_only(self, wanted: list[str]) -> None: ...


class _Wanted:
    """One deployment."""

    def __init__(self, name: str, due_ns: int) -> None:
        self.name = name
        self.due_ns = due_ns
        self.pause_ns = 0
        self.problem = ""  # what was said of it last


class Pulling:
    """All deployments of the configuration in force."""

    def __init__(
        self,
        log: Log,
        worker: Worker,
        pulls: Pulls,
        may_begin: Callable[[], bool],
        made: Callable[[], None],
    ) -> None:
        """`worker` pulls, in its forked process; `may_begin` tells whether there is time for it; `made` is
        called when there is a revision that nobody has sent.
        """
        self._log = log
        self._worker = worker
        self._pulls = pulls
        self._may_begin = may_begin
        self._made = made
        self._every_ns = 0
        self._wanted: dict[str, _Wanted] = {}
        self._at_hand: _Wanted | None = None

    def configure(self, config: Config) -> None:
        """Pull these from now on, this often; what is known already keeps its turn, but for a shorter
        interval. A host that never had one of them gets it at once.
        """
        self._every_ns, now_ns = config.push_every_ns, time.monotonic_ns()
        before, self._wanted = self._wanted, {}
        for name in config.push_pull:
            known = before.get(name) or _Wanted(name, now_ns + self._first_ns(name))
            known.due_ns = min(known.due_ns, now_ns + self._every_ns)
            self._wanted[name] = known
        self._pulls.keep_only(list(self._wanted))

    def _first_ns(self, name: str) -> int:
        is_new = not self._pulls.of(name).get("done_ns")
        return 0 if is_new else int(random.uniform(0, min(self._every_ns, _SPREAD_NS)))  # noqa: S311 - no secret

    def descriptors(self) -> list[int]:
        """What becomes readable when a pull has ended."""
        return [self._worker.fileno()] if self._worker.is_there else []

    def next_ns(self) -> int | None:
        """When there will be something to do, if nothing happens before."""
        if self._at_hand is not None or not self._may_begin():
            return None
        return min((one.due_ns for one in self._wanted.values()), default=None)

    def work(self, now_ns: int) -> None:
        """Begin what is due now, where nothing is at hand."""
        self._worker.reap()
        due = [one for one in self._wanted.values() if one.due_ns <= now_ns]
        if self._at_hand is not None or not due or not self._may_begin():
            return
        self._at_hand = min(due, key=lambda one: one.due_ns)
        try:
            self._worker.ask({"pull": self._at_hand.name})
        except OSError:  # it ended at that moment
            self._worker.leave()
            self._take({"error": ENDED}, now_ns)

    def hear(self, ready: Iterable[int], now_ns: int) -> None:
        """Take the answer, if it is there."""
        if self._worker.is_there and self._worker.fileno() in ready:
            answer = self._worker.answer()
            if answer is not None:
                self._worker.leave()
                self._take(answer, now_ns)

    def words(self) -> str:
        """What is wrong, for the servers; empty where all is well."""
        failed = (one for one in self._wanted.values() if one.problem)
        return next((f"pull of {one.name}: {one.problem}" for one in failed), "")

    def end(self) -> None:
        """Wait for what is under way, but not for ever: what is killed then is undone by the next command."""
        until = time.monotonic_ns() + _END_NS
        while self._worker.is_busy and time.monotonic_ns() < until:
            if self._worker.has_answered():
                self._worker.answer()
            time.sleep(0.01)
        self._worker.leave()

    def _take(self, answer: dict[str, Any], now_ns: int) -> None:
        one, self._at_hand = self._at_hand, None
        if one is None:
            return
        if one.name not in self._wanted:  # it was until a moment ago
            self._pulls.keep_only(list(self._wanted))
        problem = answer.get("error")
        if answer.get("revision") is not None:
            self._made()
        if problem is not None:
            self._fail(one, problem, now_ns)
            return
        if one.problem:
            self._log.info(f"pull of {one.name}: it works again")
        if answer["words"]:
            more = {} if answer["revision"] is None else {"revision": answer["revision"]}
            self._log.info(f"pull of {one.name}: {answer['words']}", **more)
        for note in answer["notes"]:
            self._log.warning(f"pull of {one.name}: {note}")
        one.problem, one.pause_ns = "", 0
        one.due_ns = now_ns + self._about(self._every_ns)

    def _fail(self, one: _Wanted, problem: dict[str, str], now_ns: int) -> None:
        kind = problem["kind"]
        if kind == ENDED["kind"]:  # it could not say so itself
            self._pulls.note(one.name, time.time_ns(), "", problem)
        if kind != "busy" and one.problem != problem["message"]:
            hint = f" ({problem['hint']})" if problem["hint"] else ""
            self._log.error(f"pull of {one.name}: {problem['message']}{hint}")
            one.problem = problem["message"]
        if kind in _PASSING:
            one.pause_ns = min(max(2 * one.pause_ns, _PASSING[kind]), self._every_ns)
        else:
            one.pause_ns = self._every_ns
        one.due_ns = now_ns + self._about(one.pause_ns)

    @staticmethod
    def _about(duration_ns: int) -> int:
        """Not all hosts at the same instant."""
        return int(duration_ns * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311 - no secret


class Puller:
    """What the forked process does with a request, by `pull`, which is given a name."""

    is_busy = False  # it does nothing that it is not asked for

    def __init__(self, pull: Callable[[str], dict[str, Any]]) -> None:
        self._pull = pull
        # What hooks start inherits how this process is: it shall end by the signals that are meant for it,
        # and not come after everybody else.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _not_for_me)
        with suppress(OSError):  # only root may
            os.setpriority(os.PRIO_PROCESS, 0, 0)

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request."""
        return self._pull(request["pull"])

    def finish(self) -> None:
        """Nothing goes on after an answer."""


def _not_for_me(_number: int, _frame: object) -> None:
    """The agent hears it, and lets what was begun be finished."""
