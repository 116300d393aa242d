"""The agent's control socket: `pacha status` and others ask the running agent through it.

Made by the agent, one for each state folder, in `/run/pacha` or `$XDG_RUNTIME_DIR/pacha`. Only the agent's
own user and root are answered. A question and an answer are one JSON object on a line each; paths are as
`os.fsdecode` has them. Nobody can make the agent wait: whoever does not speak or listen at once is dropped.
"""

from __future__ import annotations

import json
import os
import time
from _socket import AF_UNIX, socket
from collections.abc import Callable
from contextlib import closing
from typing import Any

from pacha.adapters.sockets import accept, listen
from pacha.core.errors import Busy

_PATIENCE = 0.2  # seconds
_LONGEST_QUESTION = 4096
_PENDING_AT_MOST = 1_000


class Control:
    """The agent's end."""

    def __init__(self, path: str) -> None:
        """Listen. Busy where another agent does, Failed where it cannot be done."""
        self._path = path
        try:
            self._listener = listen(path)
        except Busy:
            raise Busy("another agent is running", hint="pacha status tells its process") from None

    def fileno(self) -> int:
        """What becomes readable when somebody asks."""
        return self._listener.fileno()

    def answer(self, asked: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Answer whoever is waiting."""
        peer = accept(self._listener)
        if peer is None:
            return
        with closing(peer):
            try:
                question = _line(peer)
                found = asked(json.loads(question))
                pending = found["pending"]
                shown = list(map(os.fsdecode, pending[:_PENDING_AT_MOST]))
                told = {**found, "queue": len(pending), "pending": shown}
                peer.settimeout(_PATIENCE)
                peer.sendall(json.dumps(told).encode() + b"\n")
            except (OSError, ValueError, TypeError, AttributeError, RecursionError):  # none of ours, or gone
                return

    def close(self) -> None:
        """Listen no longer."""
        self._listener.close()
        try:
            os.unlink(self._path)
        except OSError:
            pass


def ask(path: str, question: dict[str, Any], seconds: float = 5.0) -> dict[str, Any] | None:
    """Ask the agent that listens at `path`; None where there is none that answers."""
    with closing(socket(AF_UNIX)) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(path)
            connection.sendall(json.dumps(question).encode() + b"\n")
            parts = []
            while part := connection.recv(1 << 16):
                parts.append(part)
            answer = json.loads(b"".join(parts))
        except (OSError, ValueError):
            return None
    return answer if isinstance(answer, dict) else None


def _line(peer: socket) -> bytes:
    question = b""
    deadline = time.monotonic() + _PATIENCE
    while not question.endswith(b"\n"):
        peer.settimeout(max(deadline - time.monotonic(), 0.001))
        part = peer.recv(_LONGEST_QUESTION)
        question += part
        if not part or len(question) > _LONGEST_QUESTION:
            raise ValueError("no question")
    return question
