"""The cable between clients and a server, to be cut: a relay of TCP on loopback, in a thread of its own.

`reset` is what a firewall or a router that lost its mind does: both ends get RST at once. `freeze` is a
half-open connection: nothing goes through, nobody is told.
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

RST_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER, for no time at all
CHUNK = 65_536


class Cable:
    """Leads from `port` to another port."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._ends: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._passes = threading.Event()
        self._passes.set()
        self._is_over = False
        self._thread = threading.Thread(target=self._relay)
        self._thread.start()

    def reset(self) -> int:
        """Tear all connections; how many there were."""
        with self._lock:
            ends = list(self._ends)
            self._ends.clear()
            for end in ends:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
                end.close()
        return len(ends) // 2

    def freeze(self) -> None:
        """Let nothing through."""
        self._passes.clear()

    def thaw(self) -> None:
        """Let everything through again, what was held back first."""
        self._passes.set()

    def close(self) -> None:
        """Be gone."""
        self._is_over = True
        self.thaw()
        self._thread.join()
        self.reset()
        self._listening.close()

    def _relay(self) -> None:
        while not self._is_over:
            self._passes.wait()
            with self._lock, selectors.DefaultSelector() as ready:
                for end in (self._listening, *self._ends):
                    ready.register(end, selectors.EVENT_READ)
                found = [key.fileobj for key, _ in ready.select(0.01)]
                for end in found:
                    if end is self._listening:
                        self._connect()
                    elif isinstance(end, socket.socket) and end in self._ends:
                        self._pass_on(end)

    def _connect(self) -> None:
        near, _ = self._listening.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self._to))
        except OSError:
            near.close()
            return
        self._ends[near], self._ends[far] = far, near

    def _pass_on(self, end: socket.socket) -> None:
        other = self._ends[end]
        with suppress(OSError):
            if data := end.recv(CHUNK):
                other.sendall(data)
                return
        for gone in (end, other):
            del self._ends[gone]
            gone.close()


@contextmanager
def cable(to: int) -> Iterator[Cable]:
    """One, for the block."""
    made = Cable(to)
    try:
        yield made
    finally:
        made.close()
