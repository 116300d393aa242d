"""What the worker is to be asked, in which order, and again when it failed.

Called by the loop with the monotonic time. Changes whose author is known come before a look at everything,
which would take them without one. What fails for a reason that may pass (another Pacha at work, a full disk)
is tried again after a pause that grows; what a hook or admission refuses is left until the next look. It
makes no capture and hears no event.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

from pacha.agent.batch import PATHS_AT_MOST, Batch, Group
from pacha.agent.ports import Log
from pacha.core.maintenance import LIMIT_NS, holds
from pacha.core.patterns import Ignore
from pacha.core.shown import shown
from pacha.core.who import program_of

_SECOND = 1_000_000_000
RECONCILE_NS = 3600 * _SECOND
POLL_NS = 60 * _SECOND  # what cannot be marked is looked at this often
RESTLESS_NS = 600 * _SECOND
UNSTABLE_NS = 2 * _SECOND
_FIRST_PAUSE_NS, _LONGEST_PAUSE_NS = _SECOND // 2, 60 * _SECOND
_PATIENCE_NS = 4 * _SECOND  # a person's own pacha at work is no problem worth a word
_FINAL = ("hook", "refused")

Request = dict[str, Any]


class Tasks:
    """The queue before the one worker."""

    def __init__(self, log: Log, change_path: str, now_ns: int) -> None:
        """`change_path` is a file that is there while a person's change is open."""
        self._log = log
        self._change_path = change_path
        self._groups: list[Group] = []
        self._at_hand: Request | None = None
        self._wants_look = False
        self._look_ns = now_ns + RECONCILE_NS
        self._refused: dict[bytes, None] = {}  # what a hook or admission said no to
        self._later: dict[bytes, int] = {}  # paths to look at again, and when
        self._polled: list[bytes] = []
        self._poll_ns: int | None = None
        self._pause_ns = 0
        self._retry_ns = 0
        self._secret = Ignore((), built_in=False)
        self.is_held = False
        self.has_looked = False
        self.revisions = 0
        self.last: dict[str, Any] | None = None
        self.problem: dict[str, Any] | None = None
        self.status: dict[str, Any] | None = None  # as of the last answer

    # -- what there is to do -----------------------------------------------------------------------

    def configure(self, secrets: Iterable[str], polled: Iterable[bytes], now_ns: int) -> None:
        """Take over the patterns of secrets, and the watches that must be looked at from time to time."""
        self._secret = Ignore(secrets, built_in=False)
        self._polled = list(polled)
        self._poll_ns = now_ns + POLL_NS if self._polled else None

    def add(self, group: Group) -> None:
        """Changes whose time has come."""
        self._groups.append(group)

    def look(self) -> None:
        """Look at everything that is watched as soon as the changes before are captured: until then nobody
        knows all that is pending.
        """
        self._wants_look = True
        self.has_looked = False

    def paths(self) -> Iterable[bytes]:
        """What is waiting here or being captured, or was refused."""
        yield from self._refused
        for group in [*self._groups, *([self._at_hand["group"]] if self._at_hand else [])]:
            if group is not None:
                yield from group.paths

    @property
    def has_tried(self) -> bool:
        """Whether everything was looked at, or why it was not is known: other work need not wait for that."""
        return self.has_looked or self.problem is not None

    @property
    def is_looking(self) -> bool:
        """Whether the request at hand is to look at everything."""
        return self._at_hand is not None and "look" in self._at_hand

    @property
    def paths_wait(self) -> bool:
        """Whether changes are waiting that could be captured now."""
        return bool(self._groups) and not self.is_held

    def check_held(self) -> bool:
        """Whether a person's change is open: then nothing is captured until it ends."""
        try:
            self.is_held = holds(os.stat(self._change_path).st_mtime_ns, time.time_ns())
        except OSError:
            self.is_held = False
        return self.is_held

    def next_ns(self, now_ns: int) -> int:
        """When there will be something to do, if nothing happens before."""
        if self.is_held:
            return now_ns + LIMIT_NS
        if self._groups or self._wants_look:
            return self._retry_ns
        times = [self._look_ns, self._poll_ns, *self._later.values()]
        return max(self._retry_ns, min(at for at in times if at is not None))

    def take(self, now_ns: int, *, at_once: bool = False) -> Request | None:
        """The next request; None where nothing is due. `at_once`: a pause after a failure does not count."""
        if self.is_held or (now_ns < self._retry_ns and not at_once):
            return None
        request = self._next(now_ns)
        self._at_hand = request
        return request

    def _next(self, now_ns: int) -> Request | None:
        if self._groups:
            return self._of(self._groups.pop(0))
        if self._wants_look or now_ns >= self._look_ns:
            self._wants_look = False
            self._look_ns = now_ns + RECONCILE_NS
            return {"look": True, "group": None}
        again = [path for path, at in self._later.items() if at <= now_ns]
        if self._poll_ns is not None and now_ns >= self._poll_ns:
            self._poll_ns = now_ns + POLL_NS
            again += self._polled
        if not again:
            return None
        for path in again:
            self._later.pop(path, None)
        group = Group(now_ns)
        for path in again:
            group.add(path, None, now_ns)
        return self._of(group)

    def _of(self, group: Group) -> Request:
        """One capture: whose change it is, and in which words."""
        writers = list(group.writers.values())
        run = group.run.command if group.run is not None else ""
        if any(self._secret.matches(path) for path in group.paths):
            writers = [who.without_arguments() for who in writers]
            run = program_of(run)
        actors = list(dict.fromkeys(who.actor for who in writers))
        message = writers[0].words() if writers else ""
        if run and writers:
            message = writers[0]._replace(command=run).words()
        elif len(writers) > 1:
            message += f" (and {len(writers) - 1} more)"
        if group.has_unknown:
            actors.append("unknown")
        return {
            "paths": list(group.paths),
            "cause": run or "agent",
            "message": message,
            "author": ", ".join(actors),
            "who": [who.as_object() for who in writers],
            "group": group,
        }

    # -- what came of it ---------------------------------------------------------------------------

    def done(self, answer: Mapping[str, Any], batch: Batch, now_ns: int) -> None:
        """The worker has done it."""
        request, self._at_hand = self._at_hand, None
        self.status = answer["status"]
        if self.problem is not None:
            self._log.info("captures work again")
        self.problem, self._pause_ns, self._retry_ns = None, 0, 0
        waiting = set(batch.paths())
        for path in answer.get("found", ()):
            if path not in waiting:  # else it waits with its author
                batch.add(path, None, now_ns)
        if request is not None and answer.get("is_partial"):
            self._go_on(request)
        elif request is not None and "look" in request:
            self.has_looked = not self._wants_look
            self._refused.clear()
        elif request is not None:
            for path in request["group"].paths:
                self._refused.pop(path, None)
        self._later.update(dict.fromkeys(answer.get("deferred", ()), now_ns + RESTLESS_NS))
        self._later.update(dict.fromkeys(answer.get("unstable", ()), now_ns + UNSTABLE_NS))
        if answer.get("revision") is not None:
            self.revisions += 1
            keys = ("revision", "time_ns", "author", "cause", "message")
            self.last = {key: answer[key] for key in keys}
            self._log.info(
                f"{answer['revision']} {answer['message']}",
                revision=answer["revision"],
                cause=answer["cause"],
                author=answer["author"],
                paths=" ".join(map(shown, answer["changed"])),
            )

    def _go_on(self, request: Request) -> None:
        """A part of it is done: ask for the rest before anything else."""
        if request["group"] is None:
            self._wants_look = True
        else:
            self._groups.insert(0, request["group"])

    def failed(self, problem: Mapping[str, Any], batch: Batch, now_ns: int) -> None:
        """The worker could not do it."""
        request, self._at_hand = self._at_hand, None
        is_passing = problem["kind"] == "busy" and self._pause_ns < _PATIENCE_NS
        if not is_passing:
            if self.problem is None or self.problem["message"] != problem["message"]:
                hint = f" ({problem['hint']})" if problem["hint"] else ""
                self._log.error(f"{problem['message']}{hint}")
            self.problem = dict(problem)
        if request is None:
            return
        if problem["kind"] in _FINAL:
            if request["group"] is not None and len(self._refused) < PATHS_AT_MOST:
                self._refused.update(request["group"].paths)
            return
        self._pause_ns = min(max(2 * self._pause_ns, _FIRST_PAUSE_NS), _LONGEST_PAUSE_NS)
        self._retry_ns = now_ns + self._pause_ns
        if request["group"] is None:
            self._wants_look = True
        else:
            batch.put_back(request["group"])

    def told(self) -> dict[str, Any]:
        """For `pacha status`."""
        return {
            "revisions": self.revisions,
            "last": self.last,
            "problem": self.problem,
            "held": self.is_held,
            "status": self.status,
        }

    def words(self) -> str:
        """One line for `systemctl status`."""
        if self.problem is not None:
            return f"cannot capture: {self.problem['message']}"
        last = f", last {self.last['revision']}" if self.last else ""
        return f"{self.revisions} revisions{last}"
