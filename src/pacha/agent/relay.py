"""What a sending process does: one for each server, forked like the worker, with a `Host` of its own.

Called in that process alone, by `agent/sending` and, for a command that sends once, `agent/wiring`. An answer
is a plain dict; an error is one too.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from pacha.core.errors import PachaError, Refused
from pacha.ops.host import Host
from pacha.ops.send import Sender
from pacha.ops.tip import last_of
from pacha.ops.told import server_object

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0


def relay(host: Host, address: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What answers the requests of one server: `prepare`, or to send, trying for so many `seconds`."""
    sender = Sender(host, host.server(address))

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if "prepare" in request:
            sender.prepare()
            return {}
        error = _send(sender, request["seconds"])
        server = server_object(host.index.acknowledged(address), last_of(host))
        return {"server": server, "error": error} if error else {"server": server}

    return answer


def _send(sender: Sender, seconds: float) -> dict[str, str] | None:
    """The error that it ended with, None where everything is sent."""
    until = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while True:
        try:
            sender.send()
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
