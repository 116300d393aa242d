"""The agent's sending: which server is to get something, when, and again when it failed.

Called by the loop, with the monotonic time. Each server has a forked process of its own (`agent/relay`), so
none waits for another, nor a capture for any of them. It comes up with the first sign of a change and ends
after 30 s without work. It must not import what only that process needs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from typing import Any

from pacha.agent.ports import Log
from pacha.agent.worker import Job, Worker

_SECOND = 1_000_000_000
FIRST_PAUSE_NS, LONGEST_PAUSE_NS = _SECOND, 300 * _SECOND
_END_NS = 5 * _SECOND  # at the agent's end the last revision may still go out

Work = Callable[[], Job]


class _Link:
    """One server."""

    def __init__(self, address: str, worker: Worker) -> None:
        self.address = address
        self.worker = worker
        self.is_wanted = True  # what waited before the agent came is sent at once
        self.server: dict[str, Any] | None = None  # as its process last told
        self.added = 0  # revisions since then
        self.health: dict[str, Any] | None = None  # to be told with the next sending
        self.told: dict[str, Any] | None = None  # what the process is telling
        self.pause_ns = 0
        self.retry_ns = 0

    @property
    def has_failed(self) -> bool:
        return self.server is not None and self.server["error"] is not None


class Sending:
    """All servers of the configuration in force."""

    def __init__(self, log: Log, work: Callable[[str], Work], let_go: Callable[[], None]) -> None:
        """`work` makes what a server's process does; `let_go` closes there what is the agent's alone."""
        self._log = log
        self._work = work
        self._let_go = let_go
        self._links: dict[str, _Link] = {}
        self.has_moved = False  # whether the line became another one: everything is to be looked at

    def configure(self, addresses: Iterable[str]) -> None:
        """Send to these from now on. Every process starts anew, with the new configuration."""
        for link in self._links.values():
            link.worker.kill()
        self._links = {
            address: _Link(address, Worker(self._work(address), self._let_go)) for address in addresses
        }

    def descriptors(self) -> list[int]:
        """What becomes readable when a process has answered or ended."""
        return [link.worker.fileno() for link in self._links.values() if link.worker.is_there]

    @property
    def is_ready(self) -> bool:
        """Whether every process is there."""
        return all(link.worker.is_there for link in self._links.values())

    def prepare(self) -> None:
        """There will be a revision in a moment: make the connections."""
        for link in self._links.values():
            if not link.worker.is_busy and not link.has_failed:
                self._ask(link, {"prepare": True})

    def add(self) -> None:
        """A revision was made."""
        for link in self._links.values():
            link.added += 1
            link.is_wanted = True

    def greet(self, health: dict[str, Any]) -> None:
        """Tell each server how this host is, though nothing else may wait: it sees that the host lives."""
        for link in self._links.values():
            link.is_wanted, link.health = True, health

    def wake(self) -> None:
        """Somebody asks for it: no pause after a failure counts."""
        for link in self._links.values():
            link.is_wanted, link.retry_ns = True, 0

    def next_ns(self) -> int | None:
        """When there will be something to do, if nothing happens before."""
        links = self._links.values()
        return min(
            (link.retry_ns for link in links if link.is_wanted and not link.worker.is_busy), default=None
        )

    def work(self, now_ns: int) -> None:
        """Whatever is due now."""
        for link in self._links.values():
            if link.is_wanted and not link.worker.is_busy and now_ns >= link.retry_ns:
                link.is_wanted = False
                link.told, link.health = link.health, None
                more = {} if link.told is None else {"health": link.told}
                self._ask(link, {"seconds": 0, **more})

    def hear(self, ready: Iterable[int], now_ns: int) -> None:
        """Take the answers of those that are ready."""
        for link in self._links.values():
            if link.worker.is_there and link.worker.fileno() in ready:
                answer = link.worker.answer()
                if answer is not None:
                    self._take(link, answer, now_ns)

    def told(self) -> list[dict[str, Any]]:
        """For `pacha status`: the servers of which something is known."""
        links = [(link.server, link.added) for link in self._links.values() if link.server is not None]
        return [{**server, "backlog": server["backlog"] + added} for server, added in links]

    def end(self) -> None:
        """Wait a moment for what is under way, and end."""
        until = time.monotonic_ns() + _END_NS
        self.work(until)
        while time.monotonic_ns() < until and any(link.worker.is_busy for link in self._links.values()):
            time.sleep(0.01)
            for link in self._links.values():
                if link.worker.is_busy and link.worker.has_answered():
                    link.worker.answer()
        for link in self._links.values():
            link.worker.kill()

    def _ask(self, link: _Link, request: dict[str, Any]) -> None:
        try:
            link.worker.ask(request)
        except OSError:  # it ended at that moment
            link.worker.stop()
            link.is_wanted = link.is_wanted or "seconds" in request
            link.health = link.health or link.told

    def _take(self, link: _Link, answer: dict[str, Any], now_ns: int) -> None:
        had_failed, words = link.has_failed, link.server["error"] if link.server else None
        link.server, link.added = answer.get("server", link.server), 0
        self.has_moved |= answer.get("moved", False)
        problem = answer.get("error")
        if problem is None:
            if had_failed and not link.has_failed:
                self._log.info(f"{link.address} gets everything again")
            link.pause_ns = link.retry_ns = 0
            return
        if words != problem["message"]:
            hint = f" ({problem['hint']})" if problem["hint"] else ""
            self._log.error(f"{problem['message']}{hint}")
        link.is_wanted = True
        link.health = link.health or link.told
        link.pause_ns = min(max(2 * link.pause_ns, FIRST_PAUSE_NS), LONGEST_PAUSE_NS)
        jitter = random.uniform(0.5, 1)  # noqa: S311 - no secret
        link.retry_ns = now_ns + int(link.pause_ns * jitter)
