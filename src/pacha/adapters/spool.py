"""A spool: bytes that were read and are to be stored a moment later, in memory or, where they are many, in a
file without a name.

Called by capture and rollback. What is put in is found again by offset and length. The file lies in the state
folder, is never linked there (`O_TMPFILE`), and so is gone with its process.
"""

from __future__ import annotations

import os

from pacha.core.tracked import Blob

_MEMORY = 8_000_000


class Spool:
    """Append-only bytes; `close` forgets them."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._memory: dict[int, bytes] = {}
        self._held = 0
        self._size = 0
        self._descriptor = -1

    def put(self, data: bytes) -> Blob:
        """Keep `data`; OSError where there is no space."""
        blob = Blob(self._size, len(data))
        if not data:
            return blob
        if self._held + len(data) <= _MEMORY:
            self._memory[blob.offset] = data
            self._held += len(data)
        else:
            view = memoryview(data)
            while view:
                view = view[os.pwrite(self._file(), view, blob.offset + len(data) - len(view)) :]
        self._size += len(data)
        return blob

    def get(self, blob: Blob) -> bytes:
        """The bytes that were put in."""
        if blob.length == 0:
            return b""
        if blob.offset in self._memory:
            return self._memory[blob.offset]
        return os.pread(self._file(), blob.length, blob.offset)

    def close(self) -> None:
        """Forget everything."""
        self._memory.clear()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _file(self) -> int:
        if self._descriptor < 0:
            flags = os.O_RDWR | os.O_CLOEXEC
            try:
                self._descriptor = os.open(self._folder, flags | os.O_TMPFILE, 0o600)
            except OSError:  # a file system without O_TMPFILE
                path = os.path.join(self._folder, f"spool.{os.getpid()}")
                self._descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
                os.unlink(path)
        return self._descriptor
