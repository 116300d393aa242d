"""Push: one stream to each of many hosts, so many at once, and what each of them says.

Called by the verb `push`, which prepares the streams, and is told what happens by a `Watcher`. Connections
are handed in. It must not know what a parcel holds, or print.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from pacha.core.answer import Ended, Line, Outcome, broken, is_last, outcome, parse_line, silent
from pacha.ops.push_confirm import Confirming

RECEIVE = "pacha receive"
_TICK = 0.1  # seconds between two looks at the clock
# Seconds. A receiver speaks as soon as it has started, before it reads anything: this is for ssh to connect,
# and for a host on its knees. Who has spoken may take as long as its hooks do.
SILENCE = 120.0


class Sessions(Protocol):
    """Commands at many destinations; `adapters/sessions` tells the contract."""

    def start(
        self, destination: str, remote: str, stream: Iterable[bytes], *, is_fresh: bool = False
    ) -> None: ...
    def stop(self, destination: str) -> None: ...
    def wait(self, seconds: float) -> Sequence[Line | Ended]: ...


class Watcher(Protocol):
    """Who is told, while it happens."""

    def begun(self, destination: str) -> None:
        """A connection is being made."""

    def said(self, destination: str, line: Mapping[str, Any]) -> None:
        """The host says which phase it is in, or a line of output."""

    def ended(self, outcome: Outcome) -> None:
        """The host is done with."""

    def stopping(self) -> None:
        """No more hosts are begun: somebody wants it to end."""

    def tick(self) -> None:
        """Some time has passed."""


class Pace(NamedTuple):
    """How many at once (`jobs`); in batches of how many, 0: all are one; and how many may fail before no more
    are begun, None: any number.
    """

    jobs: int = 50
    batch: int = 0
    most_failures: int | None = None


class Confirm(NamedTuple):
    """What a host is told, over a connection of its own, so that it keeps what was pushed; and within how
    many seconds.
    """

    stream: bytes
    seconds: float


class Pushed(NamedTuple):
    """What became of each host, in the order in which they were named; `left` were never begun, where
    `is_stopped` as somebody did not want to.
    """

    outcomes: list[Outcome]
    left: list[str]
    is_stopped: bool = False


class Push:
    """Hosts that are pushed to; one's failure is no other's."""

    def __init__(
        self,
        sessions: Sessions,
        hosts: Iterable[str],
        stream: Callable[[str], Iterable[bytes]],
        pace: Pace,
        watcher: Watcher,
        clock: Callable[[], float],
        confirm: Confirm | None = None,
    ) -> None:
        self._sessions = sessions
        self._stream = stream  # what a host gets: asked for when its turn comes
        self._pace = pace
        self._watcher = watcher
        self._clock = clock
        self._confirm = confirm
        self._hosts = list(hosts)
        self._waiting = deque(self._hosts)
        self._batch = 0  # how many of it are still to be begun
        self._running: dict[str, _Run] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._is_stopped = False

    def stop(self) -> None:
        """Begin no more hosts; `run` returns when those that are at work have ended. A signal may call it."""
        self._is_stopped = True

    def run(self) -> Pushed:
        """Push to all of them, batch after batch: one begins when all hosts of the one before have ended."""
        is_told = False
        while self._may_begin() or self._running:
            if self._is_stopped and not is_told:
                is_told = True
                self._watcher.stopping()
            while self._may_begin() and len(self._running) < self._pace.jobs:
                self._begin()
            for event in self._sessions.wait(_TICK):
                run = self._running.get(event.destination)
                if run is None:  # it has answered already, and now it ends
                    continue
                if isinstance(event, Line):
                    self._hear(run, event)
                else:
                    self._lose(run, event)
            for host, run in list(self._running.items()):
                if not run.has_spoken and self._clock() - run.started > SILENCE:
                    self._give_up(host, run)
                elif run.confirming is not None:
                    self._go_on(host, run, run.confirming)
            self._watcher.tick()
        return self.so_far()

    def so_far(self) -> Pushed:
        """What is known by now; whoever has not ended counts as left."""
        outcomes = [self._outcomes[host] for host in self._hosts if host in self._outcomes]
        left = [host for host in self._hosts if host not in self._outcomes]
        return Pushed(outcomes, left, self._is_stopped)

    def _may_begin(self) -> bool:
        most = self._pace.most_failures
        if self._is_stopped:
            return False
        if most is not None and sum(not one.is_done for one in self._outcomes.values()) > most:
            return False
        if not self._batch and not self._running:
            self._batch = self._pace.batch or len(self._waiting)
        return bool(self._batch and self._waiting)

    def _begin(self) -> None:
        host = self._waiting.popleft()
        self._batch -= 1
        self._running[host] = _Run(self._clock())
        self._watcher.begun(host)
        self._sessions.start(host, RECEIVE, self._stream(host))

    def _hear(self, run: _Run, line: Line) -> None:
        said = parse_line(line.text)
        if said is None:  # what a login prints
            return
        run.has_spoken = True
        if run.confirming is not None:
            run.confirming.hear(said, self._clock())
            return
        if is_last(said):
            found = outcome(line.destination, said, self._clock() - run.began)
            if self._confirm is not None and found.waits:
                self._begin_to_confirm(run, found)
            else:
                self._end(found)
            return
        run.phase = said["phase"]
        self._watcher.said(line.destination, said)

    def _lose(self, run: _Run, end: Ended) -> None:
        run.has_spoken = True  # its end
        if run.confirming is not None:
            run.confirming.lose(end, self._clock())
            return
        if end.is_stale and not run.phase and not run.is_second:
            run.is_second = True
            run.start(self._clock())
            self._sessions.start(end.destination, RECEIVE, self._stream(end.destination))
            return
        found = broken(end, run.phase, self._clock() - run.began)
        if self._confirm is not None and run.phase:  # the change itself may have cut the connection
            self._begin_to_confirm(run, found)
        else:
            self._end(found)

    def _give_up(self, host: str, run: _Run) -> None:
        """There is a connection, or ssh believes so, and nobody speaks."""
        self._sessions.stop(host)
        now = self._clock()
        found = silent(host, SILENCE, now - run.began)
        if run.confirming is None:
            self._end(found)
            return
        run.has_spoken = True  # there is nobody to wait for until it is tried again
        assert found.trouble is not None
        run.confirming.miss(found.trouble, now)

    def _begin_to_confirm(self, run: _Run, found: Outcome) -> None:
        assert self._confirm is not None
        run.confirming = Confirming(found, self._confirm.seconds, self._clock())
        self._watcher.said(found.destination, {"phase": "confirm"})

    def _go_on(self, host: str, run: _Run, confirming: Confirming) -> None:
        """Try again, or be content with how it ended."""
        now = self._clock()
        if (found := confirming.outcome(now)) is not None:
            self._end(found._replace(seconds=now - run.began))
        elif confirming.is_to_try(now):
            assert self._confirm is not None
            confirming.try_again()
            run.start(now)
            self._sessions.start(host, RECEIVE, (self._confirm.stream,), is_fresh=True)

    def _end(self, found: Outcome) -> None:
        del self._running[found.destination]
        self._outcomes[found.destination] = found
        self._watcher.ended(found)


class _Run:
    """One host that is being pushed to."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.start(began)
        self.phase = ""  # the last that it spoke of
        self.is_second = False  # the connection that was kept had gone; this is a new one
        self.confirming: Confirming | None = None

    def start(self, now: float) -> None:
        """A connection is being made."""
        self.started = now
        self.has_spoken = False
