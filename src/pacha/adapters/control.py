"""The agent's control socket: `pacha status` and others ask the running agent through it.

Made by the agent, one for each state folder, in `/run/pacha` or `$XDG_RUNTIME_DIR/pacha`. Only the agent's
own user and root are answered. A question and an answer are one JSON object on a line each; paths are as
`os.fsdecode` has them. Nobody can make the agent wait: whoever does not speak or listen at once is dropped.
`_socket` is what lies below `socket`, a megabyte smaller and quicker to import.
"""

from __future__ import annotations

import json
import os
import struct
import time
from _socket import AF_UNIX, SO_PEERCRED, SOL_SOCKET, socket
from collections.abc import Callable
from contextlib import closing
from typing import Any

from pacha.core.errors import Busy, Failed

_PATIENCE = 0.2  # seconds
_LONGEST_QUESTION = 4096
_PENDING_AT_MOST = 1_000


def socket_path(state: str) -> str:
    """Where the socket of a state folder is: short whatever the folder is called, and no one else's."""
    status = os.stat(state)
    return os.path.join(runtime_folder(state), f"{status.st_dev:x}-{status.st_ino:x}.sock")


def runtime_folder(state: str) -> str:
    """The folder of this user's sockets; without one the state folder itself must do."""
    if os.geteuid() == 0:
        return "/run/pacha"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return os.path.join(runtime, "pacha") if runtime else state


class Control:
    """The agent's end."""

    def __init__(self, path: str) -> None:
        """Listen. Busy where another agent does, Failed where it cannot be done."""
        folder = os.path.dirname(path)
        self._path = path
        self._listener = socket(AF_UNIX)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            if os.stat(folder).st_uid != os.geteuid():
                raise Failed(f"{folder} belongs to another user", hint="remove it")
            if os.path.lexists(path):
                if ask(path, {"ask": "status"}) is not None:
                    raise Busy("another agent is running", hint="pacha status tells its process")
                os.unlink(path)
            before = os.umask(0o177)
            try:
                self._listener.bind(path)
            finally:
                os.umask(before)
            self._listener.listen(16)
            self._listener.setblocking(False)
        except OSError as problem:
            raise Failed(f"cannot listen on {path}: {problem.strerror or problem}") from problem

    def fileno(self) -> int:
        """What becomes readable when somebody asks."""
        return self._listener.fileno()

    def answer(self, asked: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Answer whoever is waiting."""
        try:
            descriptor, _ = self._listener._accept()  # type: ignore[attr-defined]
        except OSError:  # gone again
            return
        with closing(socket(fileno=descriptor)) as peer:
            try:
                if _user_of(peer) not in (0, os.geteuid()):
                    return
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


def _user_of(peer: socket) -> int:
    credentials = peer.getsockopt(SOL_SOCKET, SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])
