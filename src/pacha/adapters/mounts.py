"""What is mounted at, above or below some paths.

Called by the agent, which wakes up when anything is mounted anywhere and has to tell whether it is concerned,
and before a plan is tried. `Mounts` holds one descriptor of /proc/self/mountinfo (proc(5)), which the kernel
makes ready (POLLPRI) at every change.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from pacha.core.names import is_below

_ESCAPED = re.compile(rb"\\([0-7]{3})")


def mount_points() -> list[bytes]:
    """Where anything is mounted, as this process sees it, what lies above first."""
    with open("/proc/self/mountinfo", "rb") as lines:
        return [_plain(line.split(b" ")[4]) for line in lines]


def _plain(place: bytes) -> bytes:
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), place)


class Mounts:
    """The mounts as this process sees them."""

    def __init__(self, root: bytes) -> None:
        """`root` is where the host's paths begin."""
        self._root = os.path.realpath(root).rstrip(b"/")
        self._descriptor = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)

    def fileno(self) -> int:
        """What becomes ready at every change."""
        return self._descriptor

    def around(self, paths: Iterable[bytes]) -> list[bytes]:
        """A line for each mount at, above or below one of the host's paths; equal lists are equal mounts."""
        places = [self._root + path for path in paths]
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        text = b""
        while part := os.read(self._descriptor, 1 << 16):
            text += part
        found = []
        for line in text.splitlines():
            number, _, device, _, place, *_ = line.split(b" ")
            point = _plain(place)
            if any(is_below(point, path) or is_below(path, point) for path in places):
                found.append(b" ".join((number, device, point)))
        return found

    def close(self) -> None:
        """Look no longer."""
        os.close(self._descriptor)
