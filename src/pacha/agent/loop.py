"""The agent: waits for the kernel's events, and has each change captured a moment after it was made.

Called by `cli/agent`, which hands everything in. One thread, one `poll`, no timer that is not needed: with
nothing to do it does not wake up but once an hour. Captures are made by the worker; this process only hears,
groups and asks. It must not import what only a capture needs: it has to stay small.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from pacha.adapters.memory import give_memory_back
from pacha.adapters.priority import be_prompt
from pacha.agent.batch import Batch, Settings
from pacha.agent.marks import Marks
from pacha.agent.ports import Control, Log, Mounts, Notifier
from pacha.agent.pulling import Pulling
from pacha.agent.sending import Sending
from pacha.agent.tasks import RECONCILE_NS, Tasks
from pacha.agent.worker import ENDED, Worker
from pacha.core.config import Config
from pacha.core.errors import PachaError
from pacha.core.rules import Rules
from pacha.core.who import Run

SETTLE_NS = 1_000_000_000  # several mounts come together
# A fork takes a moment in which the next writer may come and go unseen: not at the first event, but still
# within the quiet time.
START_NS = 10_000_000
REMARK_NS = 5_000_000_000  # in a storm, marking everything again must not be all that is done
REST_NS = 12_000_000_000
# Servers hear of this host with each look at everything; where there is none, as during a change, without.
GREET_NS = RECONCILE_NS + 60_000_000_000


class Settled(NamedTuple):
    """A configuration in force; `path` is where it lies, as the host has it, or None if that is elsewhere."""

    config: Config
    rules: Rules
    path: bytes | None


class Agent:
    """The long-running process."""

    def __init__(  # noqa: PLR0913 - one name for each thing handed in
        self,
        *,
        load: Callable[[], Settled],
        marks: Marks,
        mounts: Mounts,
        worker: Worker,
        sending: Sending,
        pulling: Pulling,
        tasks: Tasks,
        control: Control,
        notifier: Notifier,
        log: Log,
    ) -> None:
        """`load` reads the configuration (PachaError where it cannot be used)."""
        self._load = load
        self._marks = marks
        self._mounts = mounts
        self._mounted: list[bytes] = []
        self._worker = worker
        self._sending = sending
        self._pulling = pulling
        self._tasks = tasks
        self._control = control
        self._notifier = notifier
        self._log = log
        self._settled = load()
        self._batch = Batch(_settings(self._settled))
        self._started_ns = time.time_ns()
        self._events = 0
        self._overflows = 0
        self._degraded: list[str] = []
        self._wants_reload = False
        self._reload_ns: int | None = None
        self._stopping = 0
        self._remark_ns: int | None = None
        self._remarked_ns = 0
        self._start_ns: int | None = None
        self._rest_ns: int | None = None
        self._greet_ns = time.monotonic_ns() + GREET_NS
        self._watchdog_ns = 0
        self._runs: dict[int, Run] = {}  # package managers by a descriptor of their process
        self._polled: set[int] = set()
        self._poll = select.poll()
        self._wakeup = -1

    # -- life --------------------------------------------------------------------------------------

    def run(self) -> int:
        """Until SIGTERM or SIGINT; the exit code."""
        self._handle_signals()
        be_prompt()
        self._poll.register(self._wakeup, select.POLLIN)
        self._poll.register(self._mounts.fileno(), select.POLLPRI | select.POLLERR)
        self._poll.register(self._control.fileno(), select.POLLIN)
        self._apply()
        self._sending.configure(self._settled.config.servers)
        self._pulling.configure(self._settled.config)
        self._log.info(f"{self._marks.count:,} directories marked, by {self._marks.mode}")
        self._notifier.ready("looking at everything")
        self._tasks.look()
        self._work()
        while not self._stopping:
            self._wait()
            self._work()
        return self._end()

    def descriptors(self) -> list[int]:
        """What is the agent's alone: the worker closes them."""
        own = [self._mounts.fileno(), self._wakeup, self._control.fileno(), *self._runs]
        own += [source.fileno() for source in self._marks.sources]
        return [*own, *self._processes()]

    def _processes(self) -> set[int]:
        """The worker, and the processes that send and pull, those that are there."""
        return {self._worker.fileno(), *self._sending.descriptors(), *self._pulling.descriptors()} - {-1}

    def _handle_signals(self) -> None:
        """A signal only sets a mark and wakes the poll: work is never cut in two."""
        self._wakeup, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

        def stop(number: int, _frame: object) -> None:
            self._stopping = number

        def reload(_number: int, _frame: object) -> None:
            self._wants_reload = True

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGHUP, reload)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def _wait(self) -> None:
        """Sleep until something comes or is due, and hear what came."""
        ready = dict(self._poll.poll(self._timeout_ms()))
        if self._wakeup in ready:
            os.read(self._wakeup, 4096)
            self._worker.reap()
        if self._mounts.fileno() in ready and self._remark_ns is None and self._is_mounted_anew():
            self._remark_ns = time.monotonic_ns() + SETTLE_NS
        for descriptor in [descriptor for descriptor in ready if descriptor in self._runs]:
            self._end_run(descriptor)
        self._hear(ready)
        if self._worker.fileno() in ready:
            self._take_answer()
        self._sending.hear(ready, time.monotonic_ns())
        self._pulling.hear(ready, time.monotonic_ns())
        if self._control.fileno() in ready:
            self._control.answer(self._asked)

    def _is_mounted_anew(self) -> bool:
        return self._mounts.around(self._settled.rules.watches) != self._mounted

    def _timeout_ms(self) -> int | None:
        now = time.monotonic_ns()
        times = [self._remark_ns, self._start_ns, self._rest_ns, self._reload_ns, self._sending.next_ns()]
        times.append(self._pulling.next_ns())
        if self._settled.config.servers:
            times.append(self._greet_ns)
        if not self._worker.is_busy:
            times += [self._tasks.next_ns(now), None if self._tasks.is_held else self._batch.deadline_ns()]
        if self._notifier.watchdog_interval_ns is not None:
            times.append(self._watchdog_ns)
        soonest = min((at for at in times if at is not None), default=None)
        return None if soonest is None else max(0, -((now - soonest) // 1_000_000))

    def _end(self) -> int:
        """Let the capture at hand finish, take what waits, and go."""
        self._notifier.stopping()
        self._log.info("stopping")
        self._finish()
        for group in self._batch.all():
            self._tasks.add(group)
        self._tasks.check_held()
        while self._tasks.paths_wait and (request := self._tasks.take(time.monotonic_ns(), at_once=True)):
            self._ask(request)
            self._finish()
            if self._tasks.problem is not None:
                break
        self._worker.stop()
        self._pulling.end()
        self._sending.end()
        self._control.close()
        self._marks.close()
        return 0

    def _finish(self) -> None:
        while self._worker.is_busy:
            self._take_answer()

    # -- hearing -----------------------------------------------------------------------------------

    def _hear(self, ready: dict[int, int]) -> None:
        for source in self._marks.sources:
            if source.fileno() not in ready:
                continue
            self._rest_ns = time.monotonic_ns() + REST_NS
            for event in source.read():
                self._events += 1
                if event.path is None:
                    self._overflows += 1
                    self._log.warning("more events than the kernel's queue holds: looking at everything")
                    self._batch.add_everything()
                    self._remark_ns = max(time.monotonic_ns(), self._remarked_ns + REMARK_NS)
                    continue
                now = time.monotonic_ns()
                for path in self._marks.heard(event):
                    self._batch.add(path, event.who, now)
                    if self._start_ns is None and not (self._worker.is_there and self._sending.is_ready):
                        self._start_ns = now + START_NS
                    if path == self._settled.path:  # not at once: an editor may have emptied it just now
                        self._reload_ns = now + self._batch.settings.quiet_ns

    def _register(self) -> None:
        """Sources, runs and the worker come and go: poll what is there now."""
        wanted = {source.fileno() for source in self._marks.sources} | self._processes()
        for descriptor in self._polled - wanted:
            self._poll.unregister(descriptor)
        for descriptor in wanted:
            self._poll.register(descriptor, select.POLLIN)
        self._polled = wanted
        for run in self._batch.runs() - set(self._runs.values()):
            try:
                descriptor = os.pidfd_open(run.pid)
            except OSError:
                self._batch.end_run(run)
                continue
            self._runs[descriptor] = run
            self._poll.register(descriptor, select.POLLIN)

    def _end_run(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        os.close(descriptor)
        self._batch.end_run(self._runs.pop(descriptor))

    # -- doing -------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Whatever is due now."""
        now = time.monotonic_ns()
        self._ping(now)
        if self._remark_ns is not None and now >= self._remark_ns:
            self._remark()
        if self._start_ns is not None and now >= self._start_ns:
            self._start_ns = None
            self._worker.start()
            self._sending.prepare()
        if self._rest_ns is not None and now >= self._rest_ns:
            self._rest()
        if self._reload_ns is not None and now >= self._reload_ns:
            self._reload_ns, self._wants_reload = None, True
        if self._wants_reload and not self._worker.is_busy:
            self._reload()
        if self._batch.is_everything or self._sending.has_moved:
            self._batch.is_everything = self._sending.has_moved = False
            self._tasks.look()
        if not self._worker.is_busy:
            if not self._tasks.check_held():
                for group in self._batch.due(now):
                    self._tasks.add(group)
            request = self._tasks.take(now)
            if request is not None:
                self._ask(request)
        if now >= self._greet_ns:
            self._greet(now)
        self._pulling.work(now)
        self._sending.work(now)
        self._register()

    def _ask(self, request: dict[str, Any]) -> None:
        try:
            self._worker.ask({key: value for key, value in request.items() if key != "group"})
        except OSError:  # it ended at that moment
            self._worker.stop()
            self._tasks.failed(ENDED, self._batch, time.monotonic_ns())

    def _take_answer(self) -> None:
        answer = self._worker.answer()
        self._register()
        if answer is None:
            return
        now = time.monotonic_ns()
        is_look = self._tasks.is_looking
        if "error" in answer:
            self._tasks.failed(answer["error"], self._batch, now)
        else:
            self._tasks.done(answer, self._batch, now)
            if answer.get("revision") is not None:
                self._sending.add()
        if is_look and ("error" not in answer or now >= self._greet_ns):
            self._greet(now)
        self._notifier.status(self._tasks.words())

    def _greet(self, now: int) -> None:
        """Tell the servers how this host is."""
        self._greet_ns = now + GREET_NS
        problem = self._tasks.problem
        words = problem["message"] if problem is not None else self._pulling.words()
        self._sending.greet({"agent": True, "degraded": self._marks.degraded(), "problem": words})

    def _rest(self) -> None:
        """Nothing has happened for a while: give back what only a storm needs."""
        self._rest_ns = None
        for source in self._marks.sources:
            source.rest()
        give_memory_back()

    def _remark(self) -> None:
        """Something was mounted, or events were lost: mark anew and look."""
        self._remark_ns = None
        self._apply()
        self._remarked_ns = time.monotonic_ns()
        self._tasks.look()

    def _apply(self) -> None:
        """Mark what the configuration in force says."""
        self._mounted = self._mounts.around(self._settled.rules.watches)
        self._marks.configure(self._settled.config, self._settled.rules)
        self._marks.mark_all()
        now = time.monotonic_ns()
        self._tasks.configure(self._settled.config.secrets_paths, self._marks.unmarked, now)
        degraded = self._marks.notes() + self._marks.degraded()
        for words in degraded:
            if words not in self._degraded:
                self._log.warning(words)
        self._degraded = degraded
        self._register()

    def _reload(self) -> None:
        """Take a new configuration; a broken one leaves the old in force."""
        self._wants_reload = False
        self._notifier.reloading()
        try:
            settled = self._load()
        except PachaError as problem:
            self._log.error(f"the configuration in force stays: {problem}")
        else:
            changed = _differences(self._settled.config, settled.config)
            self._settled = settled
            self._batch.settings = _settings(settled)
            self._worker.leave()  # the next one is forked with the new configuration
            self._sending.configure(settled.config.servers)
            self._pulling.configure(settled.config)
            self._apply()
            self._log.info(f"configuration read again: {changed}")
            self._tasks.look()
        self._notifier.ready(self._tasks.words())

    def _ping(self, now: int) -> None:
        interval = self._notifier.watchdog_interval_ns
        if interval is not None and now >= self._watchdog_ns:
            self._notifier.watchdog()
            self._watchdog_ns = now + interval

    # -- asked -------------------------------------------------------------------------------------

    def _asked(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request over the control socket."""
        if request.get("ask") == "flush":
            for group in self._batch.all():
                self._tasks.add(group)
        if request.get("ask") == "send":
            self._sending.wake()
        return {
            "pid": os.getpid(),
            "running": self._tasks.has_looked,
            "mode": self._marks.mode,
            "events": self._events,
            "overflows": self._overflows,
            "directories": self._marks.count,
            "started_ns": self._started_ns,
            "pending": [*self._batch.paths(), *self._tasks.paths()],
            "degraded": self._marks.degraded(),
            "notes": self._marks.notes(),
            "servers": self._sending.told(),
            **self._tasks.told(),
        }


def _settings(settled: Settled) -> Settings:
    return Settings(settled.config.quiet_ns, settled.config.limit_ns)


def _differences(old: Config, new: Config) -> str:
    keys = sorted(key for key in {*old.values, *new.values} if old.values.get(key) != new.values.get(key))
    return f"changed: {', '.join(keys)}" if keys else "nothing has changed"
