"""The server's log: one JSON object a line in `<state>/server/log`, and one line of text in syslog.

Called through the registry by whatever receives, refuses or changes a host. It must never fail what it tells
of: a full disk costs the line.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

_LARGEST = 20_000_000
_SYSLOG = "/dev/log"
_NOTICE = 4 << 3 | 5  # facility auth, severity notice
_LONGEST_WORDS = 2000


class Log:
    """One file; when it has grown large it is renamed to `log.1`, over the one before."""

    def __init__(self, path: str) -> None:
        self._path = path

    def write(self, event: str, host: str, values: Mapping[str, Any]) -> None:
        """Add one line. What it holds may come from a hostile client: JSON keeps it on its line."""
        told = {"time_ns": time.time_ns(), "host": host, "event": event}
        told |= {key: value for key, value in values.items() if value not in ("", 0)}
        if "words" in told:
            told["words"] = str(told["words"])[:_LONGEST_WORDS]
        line = json.dumps(told)
        with suppress(OSError):
            self._append(line)
        del told["time_ns"]  # syslog has its own
        words = json.dumps(told)
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
            journal.setblocking(False)
            journal.sendto(f"<{_NOTICE}>pacha[{os.getpid()}]: {words[:_LONGEST_WORDS]}".encode(), _SYSLOG)

    def _append(self, line: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        file = os.open(self._path, flags, 0o600)
        try:
            # One write: lines of two processes do not mix.
            os.write(file, line.encode() + b"\n")
            if os.fstat(file).st_size > _LARGEST:
                os.replace(self._path, f"{self._path}.1")
        finally:
            os.close(file)
