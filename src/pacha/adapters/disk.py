"""Pacha's own files, replaced whole, and folders, brought to the disk.

Called by whatever keeps files in a state folder: the journal, the archive, the open change, the client's
pins, a server's records. It goes by path, so it must not be used where anybody but this account may
write. What people edit too has replacements of its own, which see what they save meanwhile:
`config_file`, `server/keys_file`.
"""

from __future__ import annotations

import os
from contextlib import suppress


def replace(path: str, data: bytes, *, durable: bool = True, mode: int = 0o600) -> None:
    """Replace or make a file, whoever may read it by `mode` and the umask: he sees the old one or the new,
    whole. With `durable` the new one is on the disk when this returns.
    """
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f".pacha.{os.urandom(8).hex()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with open(os.open(temporary, flags, mode), "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.rename(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if durable:
        sync_folder(folder)


def sync_folder(path: str | bytes) -> None:
    """Bring to the disk which names a folder holds."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
