"""Pacha's own sockets: who may listen there, and who has called.

Used by the agent's control socket and by what keeps a receiver ready. `_socket` is what lies below `socket`,
a megabyte smaller and quicker to import.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, SO_PEERCRED, SOCK_STREAM, SOL_SOCKET, socket

from pacha.core.errors import Busy, Failed

_PATIENCE = 1.0  # seconds
_CREDENTIALS = 3  # numbers of four bytes each: process, user, group; unix(7)


def listen(path: str, kind: int = SOCK_STREAM) -> socket:
    """A socket that listens there, and never waits. Busy where somebody answers there, Failed where it cannot
    be done.
    """
    folder = os.path.dirname(path)
    listener = socket(AF_UNIX, kind)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if os.stat(folder).st_uid != os.geteuid():
            raise Failed(f"{folder} belongs to another user", hint="remove it")
        if os.path.lexists(path):
            if _is_answered(path, kind):
                raise Busy(f"another process listens on {path}")
            os.unlink(path)
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        listener.listen(16)
        listener.setblocking(False)
    except OSError as problem:
        listener.close()
        raise Failed(f"cannot listen on {path}: {problem.strerror or problem}") from problem
    except BaseException:
        listener.close()
        raise
    return listener


def accept(listener: socket) -> socket | None:
    """Who has called, if it is this user or root and has not gone again."""
    try:
        descriptor, _ = listener._accept()  # type: ignore[attr-defined]
    except OSError:
        return None
    peer = socket(fileno=descriptor)
    if _user_of(peer) in (0, os.geteuid()):
        return peer
    peer.close()
    return None


def _user_of(peer: socket) -> int:
    numbers = memoryview(peer.getsockopt(SOL_SOCKET, SO_PEERCRED, 4 * _CREDENTIALS)).cast("i")
    return numbers[1]


def _is_answered(path: str, kind: int) -> bool:
    caller = socket(AF_UNIX, kind)
    caller.settimeout(_PATIENCE)
    try:
        caller.connect(path)
    except OSError:
        return False
    else:
        return True
    finally:
        caller.close()
