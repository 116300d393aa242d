"""Pacha's own locks: a `flock` on a file in a state folder, let go by the kernel when its holder dies.

`Locks` are those on `<state>/live.lock` and `<state>/lock`, one writer at a time, taken by whatever changes
live files, the store or the index. They hold the holder's process number and verb for the message that
another one gets. The Mercurial child inherits the descriptor of the second: where Pacha is killed in the
middle of a commit, that lock stays held until the child has finished or undone it. The functions are for the
agent, and for what a server locks.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable
from types import TracebackType

from pacha.core.errors import Busy, NoSpace, ReadOnly

WAIT_NS = 5_000_000_000
_PAUSE = 0.02
_BRIEF_NS = 1_000_000_000


def take_for_good(path: str, otherwise: str) -> int:
    """The descriptor of a lock that is held as long as it is open; Busy, in the words `otherwise`, where
    another has it.
    """
    descriptor = open_lock(path)
    if not try_lock(descriptor):
        os.close(descriptor)
        raise Busy(otherwise, hint="pacha status tells its process")
    return descriptor


def take_patiently(path: str, seconds: float, otherwise: str) -> int:
    """The descriptor of a lock that is held as long as it is open; Busy, in the words `otherwise`, where
    another has it for so many seconds.
    """
    descriptor = open_lock(path)
    if not _try_for(descriptor, seconds):
        os.close(descriptor)
        raise Busy(otherwise, hint="try again in a moment")
    return descriptor


def _try_for(descriptor: int, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> bool:
    deadline = time.monotonic() + seconds
    while not try_lock(descriptor):
        meanwhile()
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def is_held(path: str) -> bool:
    """Whether somebody has the lock at `path`; one that cannot be opened is nobody's."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def open_lock(path: str) -> int:
    """The descriptor of the file at `path`, made where there is none, to be locked; who closes it lets go."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def try_lock(descriptor: int, how: int = fcntl.LOCK_EX) -> bool:
    """Take the lock without waiting; False where another has it."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take(descriptor: int) -> None:
    """Wait for the lock, for something that takes a moment only."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)


class Lock:
    """One lock; a context manager that waits briefly and may be entered again by its holder."""

    def __init__(self, path: str, verb: str, wait_ns: int = WAIT_NS) -> None:
        self._path = path
        self._verb = verb
        self._wait_ns = wait_ns
        self._patience_ns = wait_ns
        self._hastened = ""
        self._descriptor = -1
        self._depth = 0

    def be_known_as(self, verb: str) -> None:
        """What another one is told who wants the lock meanwhile."""
        self._verb = verb

    def descriptors(self) -> tuple[int, ...]:
        """What a child must inherit, opened now; nothing where the state folder cannot be written."""
        try:
            self._open()
        except (ReadOnly, NoSpace):
            return ()
        return (self._descriptor,)

    def briefly(self) -> Lock:
        """The lock, to be entered with little patience: Busy where another is at work.

        Not with none: the child of a Pacha that was killed just now takes a moment to let go.
        """
        self._patience_ns = _BRIEF_NS
        return self

    def __enter__(self) -> Lock:
        if self._depth == 0:
            self._open()
            self._wait()
            os.truncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()} pacha {self._verb}\n".encode(), 0)
        self._depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            # Said outright, because a child's inherited descriptor would go on holding it.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _open(self) -> None:
        if self._descriptor >= 0:
            return
        try:
            self._descriptor = open_lock(self._path)
        except OSError as problem:
            if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(
                    f"no space left for {self._path}", hint="free some space and run it again"
                ) from problem
            hint = "is its file system mounted read-only, or is it another user's?"
            raise ReadOnly(
                f"cannot write the state folder: {problem.strerror}: {self._path}", hint=hint
            ) from problem

    def _wait(self) -> None:
        patience_ns, self._patience_ns = self._patience_ns, self._wait_ns
        if not _try_for(self._descriptor, patience_ns / 1e9, self._hasten_holder):
            number, verb = self._holder()
            who = f"{verb or 'another Pacha'} (process {number})" if number else "another Pacha"
            hint = "wait for it to end, then run this again"
            raise Busy(f"{who} holds the lock {self._path}", hint=hint)

    def _holder(self) -> tuple[str, str]:
        """(its process, its verb), as far as it has said."""
        text = os.pread(self._descriptor, 200, 0).decode("utf-8", "replace").strip()
        number, _, verb = text.partition(" ")
        return number, verb

    def _hasten_holder(self) -> None:
        """Who does it at leisure, as what a push has left to be done is, shall not keep others waiting."""
        number, _ = self._holder()
        if number.isdecimal() and number != self._hastened:
            self._hastened = number
            from pacha.adapters.priority import hasten

            hasten(int(number))


class Locks:
    """The two locks of a state folder, held together: `live`, of who changes live files, and `history`, of
    who changes the store and the index.

    Operations compare the one with the other, and hold both. A push holds `live` alone and what records it
    `history` alone, so that no push waits until another is recorded. Whoever wants both takes `live` first.
    """

    def __init__(self, folder: str, verb: str) -> None:
        self.live = Lock(os.path.join(folder, "live.lock"), verb)
        self.history = Lock(os.path.join(folder, "lock"), verb)

    def be_known_as(self, verb: str) -> None:
        """What another one is told who wants one of them meanwhile."""
        self.live.be_known_as(verb)
        self.history.be_known_as(verb)

    def briefly(self) -> Locks:
        """Both, to be entered with little patience."""
        self.live.briefly()
        self.history.briefly()
        return self

    def __enter__(self) -> Locks:
        self.live.__enter__()
        try:
            self.history.__enter__()
        except BaseException:
            self.live.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.history.__exit__(kind, error, trace)
        self.live.__exit__(kind, error, trace)
