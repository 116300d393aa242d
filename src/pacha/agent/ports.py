"""What the agent needs of the world, as narrow as it needs it.

Used for annotations only; `adapters/events` fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from pacha.core.events import Event

if TYPE_CHECKING:
    from os import stat_result


class Directory(Protocol):
    """An open directory of the live tree."""

    path: bytes
    stat: stat_result

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def subdirectories(self) -> list[bytes]: ...


class Tree(Protocol):
    """The live tree below the host's root."""

    def directory(self, path: bytes) -> Directory: ...
    def lstat(self, path: bytes) -> stat_result | None: ...


class Source(Protocol):
    """One kind of kernel events: `fanotify`, which tells who wrote, or `inotify`, which does not."""

    mode: str

    def fileno(self) -> int:
        """What becomes readable when there are events."""

    def add(self, directory: Any, *, entries_only: bool = False) -> None:
        """Mark an open `Directory`; marking it again changes nothing.

        With `entries_only` just the coming and going of its entries is told: for the parent of a watch. Raise
        Unsupported, LimitReached, or OSError where the directory itself is the problem.
        """

    def forget(self, path: bytes) -> None:
        """The directory at that path is gone or was moved away, with everything below it: drop its marks."""

    def read(self) -> list[Event]:
        """All that has come so far, without waiting; a bounded number at a time."""

    def rest(self) -> None:
        """Nothing has come for a while: let go of what only the next moment would have needed."""

    def close(self) -> None:
        """Let go of everything."""


class Mounts(Protocol):
    """What is mounted."""

    def fileno(self) -> int: ...
    def around(self, paths: Iterable[bytes]) -> list[bytes]: ...


class Notifier(Protocol):
    """What systemd is told."""

    watchdog_interval_ns: int | None

    def ready(self, status: str) -> None: ...
    def status(self, text: str) -> None: ...
    def reloading(self) -> None: ...
    def stopping(self) -> None: ...
    def watchdog(self) -> None: ...


class Log(Protocol):
    """Where the agent says what it did."""

    def info(self, message: str, **fields: str) -> None: ...
    def warning(self, message: str, **fields: str) -> None: ...
    def error(self, message: str, **fields: str) -> None: ...


class Control(Protocol):
    """The socket through which `pacha status` and others ask."""

    def fileno(self) -> int: ...
    def answer(self, asked: Callable[[dict[str, Any]], dict[str, Any]]) -> None: ...
    def close(self) -> None: ...
