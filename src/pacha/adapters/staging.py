"""The hooks that come with a deployment, put down for as long as they are run.

Called by `ops/receive` through the host, under its lock. They lie in the state folder, which nobody else can
write to; what a killed Pacha has left goes with the next.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pacha.adapters.hooks import Hooks


@contextmanager
def staged(folder: str, files: Mapping[str, bytes], timeout_ns: int) -> Iterator[Hooks]:
    """Hooks of these files, `moment/name`, each of which may take `timeout_ns`."""
    shutil.rmtree(folder, ignore_errors=True)
    if not files:
        yield Hooks(folder, timeout_ns)
        return
    try:
        os.mkdir(folder, 0o700)
        for name, data in files.items():
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with open(
                os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700), "wb"
            ) as file:
                file.write(data)
        yield Hooks(folder, timeout_ns)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
