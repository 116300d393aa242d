"""Run commands in forks of one process that has imported what they need: a start that takes milliseconds.

The other end of `adapters/handover`, which has the protocol. Used by what a push leaves behind on a host, for
the pushes that follow. Each command has the streams, the directory and the environment of whoever hands it
over, in a process of its own: nothing of one is left for the next. The server itself must do nothing but
fork. It serves no one else's processes, and none any more when the files it was made of are others.
"""

from __future__ import annotations

import fcntl
import gc
import os
import select
import signal
import sys
import time
from _socket import MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_TRUNC, SCM_RIGHTS, SOL_SOCKET, socket
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from pacha.adapters import fork
from pacha.adapters.handover import KIND, STREAMS, identity
from pacha.adapters.sockets import accept, listen

_LONGEST = 1 << 20  # bytes of a message
_ROOM = 256  # bytes of what comes with it
_LOOK = 10.0  # seconds between two looks whether socket and files are still ours
_PATIENCE = 0.5  # seconds for one who has called to speak


class _Order(NamedTuple):
    """A command as it was handed over."""

    words: list[bytes]
    environment: dict[bytes, bytes]
    umask: int
    descriptors: list[int]


class ForkServer:
    """One that listens; `run` takes a command's words and returns its exit code."""

    def __init__(self, path: str, run: Callable[[list[str]], int]) -> None:
        """Listen there. Busy where another does, Failed where it cannot be done."""
        self._path = path
        self._run = run
        self._listener = listen(path, KIND)
        self._inode = _inode(path)
        self._identity = identity()
        self._files = _made_of()
        self._versions = _versions(self._files)

    def serve(self, seconds: float) -> None:
        """Until nobody has come for so long, or what we are made of has changed."""
        gc.collect()
        gc.freeze()  # what is never looked at is shared with every fork
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
        try:
            self._wait(seconds)
        finally:
            self.close()

    def _wait(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and _inode(self._path) == self._inode:
            has_called = poll.poll(1000 * min(left, _LOOK))
            if _versions(self._files) != self._versions:
                return
            if has_called and self._take():
                end = time.monotonic() + seconds

    def close(self) -> None:
        """Listen no longer; whoever has called and was not heard runs its command itself."""
        if _inode(self._path) == self._inode:
            os.unlink(self._path)
        self._listener.close()

    def _take(self) -> bool:
        peer = accept(self._listener)
        if peer is None:
            return False
        order = self._heard(peer)
        try:
            if order is None:
                return False
            if os.fork() == 0:
                self._obey(peer, order)
            return True
        except OSError:  # too many processes
            return False
        finally:
            for descriptor in order.descriptors if order else ():
                os.close(descriptor)
            peer.close()

    def _heard(self, peer: socket) -> _Order | None:
        """What is asked for; None where it is nothing for us."""
        peer.settimeout(_PATIENCE)
        try:
            peer.send(self._identity)
            message, more, flags, _ = peer.recvmsg(_LONGEST, _ROOM, MSG_CMSG_CLOEXEC)
        except OSError:
            return None
        numbers = [
            number
            for level, kind, data in more
            if (level, kind) == (SOL_SOCKET, SCM_RIGHTS)
            for number in memoryview(data[: len(data) // 4 * 4]).cast("i")
        ]
        try:
            umask, count, *rest = message.split(b"\0")
            if len(numbers) != STREAMS or flags & (MSG_TRUNC | MSG_CTRUNC):
                raise ValueError("nothing for us")
            words, entries = rest[: int(count)], rest[int(count) :]
            environment = {name: value for name, _, value in (entry.partition(b"=") for entry in entries)}
            return _Order(words, environment, int(umask), numbers)
        except ValueError:
            for number in numbers:
                os.close(number)
            return None

    def _obey(self, peer: socket, order: _Order) -> NoReturn:
        """In the fork: become the process that was asked for."""
        fork.is_one = True
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._listener.close()
            _take_on(order)
            peer.settimeout(None)
            peer.send(b"%d" % os.getpid())
            if peer.recv(1):  # else it has not waited for us, and runs the command itself
                _live_and_die_with(peer)
                code = self._ran(order)
                _live_alone(peer)
                peer.send(b"%d" % code)
                peer.close()
                _be_silent()
                for work in fork.afterwards:
                    work()
        finally:
            os._exit(0)

    def _ran(self, order: _Order) -> int:
        try:
            return self._run([os.fsdecode(word) for word in order.words])
        except BaseException:  # noqa: BLE001 - shown as an interpreter does that ends by it
            sys.excepthook(*sys.exc_info())
            return 1


def _live_and_die_with(peer: socket) -> None:
    """From now on who kills the process at the other end has killed this one: fcntl(2), F_SETSIG."""
    fcntl.fcntl(peer, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(peer, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(peer, fcntl.F_SETFL, fcntl.fcntl(peer, fcntl.F_GETFL) | os.O_ASYNC)
    closed = select.poll()
    closed.register(peer, 0)
    if closed.poll(0):  # before we had said so
        os._exit(1)


def _live_alone(peer: socket) -> None:
    fcntl.fcntl(peer, fcntl.F_SETFL, fcntl.fcntl(peer, fcntl.F_GETFL) & ~os.O_ASYNC)


def _be_silent() -> None:
    """Let go of the streams, which somebody waits to see the end of."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)
    os.chdir("/")


def _take_on(order: _Order) -> None:
    """Streams, directory, umask and environment."""
    for stream, descriptor in enumerate(order.descriptors[:3]):
        os.dup2(descriptor, stream)
    os.fchdir(order.descriptors[3])
    for descriptor in order.descriptors:
        os.close(descriptor)
    os.umask(order.umask)
    os.environb.clear()
    os.environb.update(order.environment)
    encoding = sys.stdout.encoding
    sys.stdin = open(0, encoding=encoding)  # noqa: SIM115 - to the end
    sys.stdout = open(1, "w", encoding=encoding)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding=encoding, errors="backslashreplace")  # noqa: SIM115


def _inode(path: str) -> int | None:
    try:
        return os.lstat(path).st_ino
    except OSError:
        return None


def _made_of() -> list[str]:
    """The files of all modules."""
    return [name for module in list(sys.modules.values()) if (name := getattr(module, "__file__", None))]


def _versions(names: list[str]) -> list[tuple[int, int, int] | None]:
    """Time, size and inode of each file."""
    found: list[tuple[int, int, int] | None] = []
    for name in names:
        try:
            status = os.stat(name)
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        except OSError:
            found.append(None)
    return found
