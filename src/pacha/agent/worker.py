"""The worker: a forked process in which captures are made, so that the agent itself stays small.

Called by the loop, and by `sending` for processes of the same kind. Whatever a capture needs (digests, the
index, the Mercurial child) is imported in the worker alone. It starts with the first sign of work, while the
quiet time passes, and ends by itself once it has had nothing to do for `IDLE_SECONDS`, and its Mercurial
child with it. Its ending, however it comes, costs nothing but that capture: what it was asked for is asked
for again. One request is made at a time.

A message is a 32-bit length and a marshalled dict: both ends are one program, and paths are bytes.
"""

from __future__ import annotations

import marshal
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, Protocol

from pacha.adapters.priority import be_patient

IDLE_SECONDS = 30
ENDED = {"kind": "worker", "message": "the worker ended unexpectedly", "hint": ""}

Message = dict[str, Any]


class Job(Protocol):
    """What the worker does: it answers requests, and may go on with something when it has."""

    def __call__(self, request: Message) -> Message: ...
    @property
    def is_busy(self) -> bool: ...
    def finish(self) -> None: ...


class Worker:
    """The agent's end. `work` runs in the worker's process: it makes what answers a request."""

    def __init__(self, work: Callable[[], Job], let_go: Callable[[], None]) -> None:
        """`let_go` closes, in the worker, what is the agent's alone."""
        self._work = work
        self._let_go = let_go
        self._socket: socket.socket | None = None
        self._pid = 0
        self._leaving: list[int] = []
        self._received = bytearray()
        self.is_busy = False

    def fileno(self) -> int:
        """What becomes readable when there is an answer, or the worker has ended; -1 where there is none."""
        return -1 if self._socket is None else self._socket.fileno()

    @property
    def is_there(self) -> bool:
        """Whether it runs."""
        return self._socket is not None

    def start(self) -> None:
        """Fork, unless it is there; there will be work."""
        if self._socket is not None:
            return
        mine, its = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                mine.close()
                signal.set_wakeup_fd(-1)
                self._let_go()
                _serve(its, self._work)
                code = 0
            except BaseException:  # noqa: BLE001 - nothing is above it
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(code)
        its.close()
        self._socket, self._pid = mine, pid

    def ask(self, request: Message) -> None:
        """Hand over a request; the answer comes by `answer`. OSError where the worker has just ended."""
        self.start()
        assert self._socket is not None
        self.is_busy = True
        self._socket.sendall(_packed(request))

    def answer(self) -> Message | None:
        """What has come: an answer, or an error where the worker ended instead; None where that is not all
        there yet.
        """
        assert self._socket is not None
        try:
            part = self._socket.recv(1 << 16)
        except ConnectionResetError:  # it ended before it had read all of the request
            part = b""
        if not part:
            was_busy = self.is_busy
            self.leave()
            os.waitpid(self._leaving.pop(), 0)  # it is ending at this moment
            return {"error": ENDED} if was_busy else None
        self._received += part
        if len(self._received) < 4:
            return None
        (length,) = struct.unpack_from(">I", self._received)
        if len(self._received) < 4 + length:
            return None
        message: Message = marshal.loads(bytes(self._received[4:]))  # noqa: S302 - from our own fork
        self._received.clear()
        self.is_busy = False
        return message

    def has_answered(self) -> bool:
        """Whether `answer` would not wait."""
        return self._socket is not None and bool(select.select([self._socket], [], [], 0)[0])

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        if self._socket is not None:
            os.kill(self._pid, signal.SIGKILL)
        self.stop()

    def leave(self) -> None:
        """Ask nothing more of it: it ends by itself once it has finished."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._leaving.append(self._pid)
        self._received.clear()
        self.is_busy = False

    def reap(self) -> None:
        """Forget those that have left and ended: for when a SIGCHLD has come."""
        self._leaving = [pid for pid in self._leaving if os.waitpid(pid, os.WNOHANG) == (0, 0)]

    def stop(self) -> None:
        """Let it finish what it is doing, and wait for its end."""
        self.leave()
        while self._leaving:
            os.waitpid(self._leaving.pop(), 0)


def _packed(message: Message) -> bytes:
    data = marshal.dumps(message)
    return struct.pack(">I", len(data)) + data


def _serve(its: socket.socket, work: Callable[[], Job]) -> None:
    """The worker's life."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Ctrl-C is for the agent, which lets the capture at hand finish.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    be_patient()
    job = work()
    stream = its.makefile("rb")
    try:
        while _is_asked(its, job) and (head := stream.read(4)):
            (length,) = struct.unpack(">I", head)
            request: Message = marshal.loads(stream.read(length))  # noqa: S302 - from our own parent
            its.sendall(_packed(job(request)))
    except (BrokenPipeError, ConnectionResetError):  # the agent has ended
        pass
    its.close()
    job.finish()


def _is_asked(its: socket.socket, job: Job) -> bool:
    """Wait for a request, or the agent's end; False where there was nothing to do for so long."""
    poll = select.poll()
    poll.register(its, select.POLLIN)
    while not poll.poll(IDLE_SECONDS * 1000):
        if not job.is_busy:
            return False
    return True
