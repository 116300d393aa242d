"""What a sending process does: one for each server, forked like the worker, with a `Host` of its own.

Called in that process alone, by `agent/sending` and, for a command that sends once, `agent/wiring`. An answer
is a plain dict; an error is one too.
"""

from __future__ import annotations

import random
import time
from typing import Any

from pacha.core.errors import PachaError, Refused
from pacha.ops.host import Host
from pacha.ops.send import Sender
from pacha.ops.tip import last_of
from pacha.ops.told import server_object

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0


class Relay:
    """The job of one server's process: to `prepare`, or to send, trying for so many `seconds`; and to tell
    how this host is, where `health` has what the agent knows of that.
    """

    is_busy = False  # it does nothing that it is not asked for

    def __init__(self, host: Host, address: str) -> None:
        self._host = host
        self._address = address
        self._sender = Sender(host, host.server(address))

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request."""
        if "prepare" in request:
            self._sender.prepare()
            return {}
        error = _send(self._sender, request["seconds"], request.get("health"))
        server = server_object(self._host.index.acknowledged(self._address), last_of(self._host))
        answer = {"server": server, "moved": self._sender.has_moved}
        self._sender.has_moved = False
        return {**answer, "error": error} if error else answer

    def finish(self) -> None:
        """Nothing goes on after an answer."""


def _send(sender: Sender, seconds: float, health: dict[str, Any] | None) -> dict[str, str] | None:
    """The error that it ended with, None where everything is sent."""
    until = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while True:
        try:
            sender.send()
            sender.have_forgotten(again=health is not None)
            if health is not None:
                sender.tell(health)
            return None
        except PachaError as problem:
            error = {"kind": problem.kind, "message": str(problem), "hint": problem.hint}
            is_final = isinstance(problem, Refused)
        except OSError as problem:
            error = {"kind": "failed", "message": problem.strerror or str(problem), "hint": ""}
            is_final = False
        # Not all clients at the same instant.
        wait = pause * random.uniform(0.5, 1)  # noqa: S311 - no secret
        if is_final or time.monotonic() + wait > until:
            return error
        time.sleep(wait)
        pause = min(2 * pause, _LONGEST_PAUSE)
