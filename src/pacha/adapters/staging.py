"""The hooks that come with a deployment, put down for as long as they are run.

Called by `ops/receive` through the host, under its lock. They lie in the state folder, which nobody else can
write to; what a killed Pacha has left goes with the next.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pacha.adapters.hooks import Hooks


@contextmanager
def staged(folder: str, files: Mapping[str, bytes], timeout_ns: int) -> Iterator[Hooks]:
    """Hooks of these files, `moment/name`, each of which may take `timeout_ns`."""
    _remove(folder)
    if not files:
        yield Hooks(folder, timeout_ns)
        return
    folders = {os.path.join(folder, os.path.dirname(name)) for name in files}
    paths = [os.path.join(folder, name) for name in files]
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        for each in (folder, *folders):
            os.mkdir(each, 0o700)
        for path, data in zip(paths, files.values(), strict=True):
            with open(os.open(path, flags, 0o700), "wb") as file:
                file.write(data)
        yield Hooks(folder, timeout_ns)
    finally:
        _take_away(paths, (*folders, folder))


def _take_away(files: Sequence[str], folders: Sequence[str]) -> None:
    """Remove what was put down, and what hooks may have put beside it."""
    try:
        for path in files:
            os.unlink(path)
        for path in folders:
            os.rmdir(path)
    except OSError:
        _remove(folders[-1])


def _remove(folder: str) -> None:
    if os.path.lexists(folder):
        import shutil  # which takes longer to import than most pushes do

        shutil.rmtree(folder, ignore_errors=True)
