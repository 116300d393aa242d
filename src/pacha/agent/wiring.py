"""The agent, put together from the adapters, and what asks a running one.

Called by `cli/agent`, `cli/status` and `cli/change`. What only the worker needs is imported in the worker.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pacha.agent.loop import Settled
    from pacha.agent.ports import Source
    from pacha.agent.worker import Job
    from pacha.ops.host import Host


def ask_agent(state: str, question: str, seconds: float = 5.0) -> dict[str, Any] | None:
    """The answer of the agent of a state folder to `status` or `flush`; None where there is no agent."""
    from pacha.adapters.control import ask
    from pacha.adapters.runtime import socket_path

    try:
        return ask(socket_path(state), {"ask": question}, seconds)
    except OSError:  # no state folder
        return None


_LOCK = "agent.lock"


def is_running(state: str) -> bool:
    """Whether the agent of a state folder runs, answering or not."""
    from pacha.adapters.lock import is_held

    return is_held(os.path.join(state, _LOCK))


def why_silent(state: str) -> Literal["none", "died", "stuck"]:
    """Why nobody answered `ask_agent`: none runs, one was not ended in order, or one is stuck."""
    from pacha.adapters.runtime import socket_path

    try:
        if is_running(state):
            return "stuck"
        return "died" if os.path.lexists(socket_path(state)) else "none"
    except OSError:
        return "none"


def send_once(
    patience: Mapping[str, float], make_host: Callable[[], Host], health: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Send to each server, all at the same time, trying for so many seconds as `patience` says; what is known
    of each then. With `health` each is told how this host is.

    `make_host` is called in the sending processes. Ended by an exception, it ends them.
    """
    import select

    from pacha.agent.worker import Worker

    answers: dict[str, dict[str, Any]] = {}
    addresses = [*patience]
    more = {} if health is None else {"health": health}
    workers = {address: Worker(_relay(make_host, address), lambda: None) for address in addresses}
    try:
        for address, worker in workers.items():
            worker.ask({"seconds": patience[address], **more})
        while waiting := [address for address in addresses if address not in answers]:
            ready = select.select([workers[address] for address in waiting], [], [])[0]
            for address in waiting:
                if workers[address] in ready and (answer := workers[address].answer()) is not None:
                    answers[address] = answer
    finally:
        for worker in workers.values():
            worker.kill()
    unknown = {"backlog": 1, "since": None, "revision": None, "used": 0, "quota": 0}
    return [
        answers[address].get("server")
        or {"address": address, **unknown, "error": answers[address]["error"]["message"]}
        for address in addresses
    ]


def _relay(make_host: Callable[[], Host], address: str) -> Callable[[], Job]:
    def work() -> Job:
        from pacha.agent.relay import Relay

        return Relay(make_host(), address)

    return work


def run_agent(
    state: str,
    root: bytes,
    load: Callable[[], Settled],
    make_host: Callable[[], Host],
    pull: Callable[[str], dict[str, Any]],
) -> int:
    """Be the agent of a state folder until it is ended; the exit code. Busy where there is one already.

    `load` reads the configuration; `make_host` is called in the worker and the sending processes, and `pull`,
    with the name of a deployment, in one of its own.
    """
    from pacha.adapters import state as folder
    from pacha.adapters.control import Control
    from pacha.adapters.files.tree import Tree
    from pacha.adapters.lock import take_for_good
    from pacha.adapters.mounts import Mounts
    from pacha.adapters.pulls import Pulls
    from pacha.adapters.runtime import socket_path
    from pacha.adapters.service import Log, Notifier
    from pacha.agent.loop import Agent
    from pacha.agent.marks import Marks
    from pacha.agent.pulling import Puller, Pulling
    from pacha.agent.sending import Sending
    from pacha.agent.tasks import Tasks
    from pacha.agent.worker import Worker
    from pacha.core.maintenance import NAME

    folder.make(state)
    only = take_for_good(os.path.join(state, _LOCK), "an agent is running on this state folder")
    log = Log()

    def let_go() -> None:
        for descriptor in {only, *agent.descriptors()}:
            os.close(descriptor)

    def work() -> Job:
        host = make_host()
        host.store.prepare()  # Mercurial comes up while the rest is imported
        from pacha.agent.captures import Captures

        return Captures(host)

    sending = Sending(log, lambda address: _relay(make_host, address), let_go)
    tasks = Tasks(log, os.path.join(state, NAME), time.monotonic_ns())
    agent = Agent(
        load=load,
        marks=Marks(Tree(root), _sources(root)),
        mounts=Mounts(root),
        worker=Worker(work, let_go),
        sending=sending,
        pulling=Pulling(
            log,
            Worker(lambda: Puller(pull), let_go),
            Pulls(state),
            may_begin=lambda: tasks.has_tried,
            made=sending.add,
        ),
        tasks=tasks,
        control=Control(socket_path(state)),
        notifier=Notifier(),
        log=log,
    )
    return agent.run()


def _sources(root: bytes) -> dict[str, Callable[[], Source]]:
    """The kinds of events, the best first."""

    def fanotify() -> Source:
        from pacha.adapters.events.fanotify import Fanotify
        from pacha.adapters.events.processes import Processes

        processes = Processes()
        return Fanotify(root, processes.who, processes.forget_old)

    def inotify() -> Source:
        from pacha.adapters.events.inotify import Inotify

        return Inotify(root)

    return {"fanotify": fanotify, "inotify": inotify}
