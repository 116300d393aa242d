"""`authorized_keys` on the disk: read, and replaced whole.

Called by `server/hosts`, as the account whose file it is. What is in it is the business of
`core/authorized_keys`. Who reads it at any instant, or after a power cut, sees the old text or the new.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress

from pacha.adapters.lock import take
from pacha.core.errors import Failed

_ATTEMPTS = 5


class KeysFile:
    """The one file at `path`, which need not exist."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> str:
        """Its text, empty where there is none."""
        return self._read()[0]

    def edit(self, change: Callable[[str], str]) -> bool:
        """Let `change` make another text of it; whether it did.

        The folder is made where it is missing. Two Pachas wait for each other; what an editor or ssh-copy-id
        saved in between is noticed.
        """
        target = os.path.realpath(self.path)
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        folder = os.open(os.path.dirname(target), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            take(folder)
            for _ in range(_ATTEMPTS):
                old, status = self._read()
                new = change(old)
                if new == old and status is not None:
                    return False
                if self._replace(folder, os.path.basename(target), status, new):
                    return True
        finally:
            os.close(folder)
        raise Failed(f"{self.path} is being changed by somebody else all the time", hint="try again")

    def _read(self) -> tuple[str, os.stat_result | None]:
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return "", None
        with os.fdopen(file, encoding="utf-8", errors="surrogateescape", newline="") as text:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise Failed(f"{self.path} is no file")
            return text.read(), status

    def _replace(self, folder: int, name: str, expected: os.stat_result | None, text: str) -> bool:
        """Write it beside itself and rename it; False where it is no longer as `expected`."""
        temporary = f".pacha.{os.urandom(8).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=folder), "wb") as file:
                file.write(text.encode("utf-8", "surrogateescape"))
                file.flush()
                if expected is not None:
                    os.fchmod(file.fileno(), stat.S_IMODE(expected.st_mode))
                os.fsync(file.fileno())
            if not _is_as(folder, name, expected):
                return False
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
            return True
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)


def _is_as(folder: int, name: str, expected: os.stat_result | None) -> bool:
    try:
        now = os.stat(name, dir_fd=folder)
    except FileNotFoundError:
        return expected is None
    kept = ("st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")
    return expected is not None and all(getattr(now, key) == getattr(expected, key) for key in kept)
