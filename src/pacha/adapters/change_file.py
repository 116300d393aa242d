"""The file in the state folder that is there while a person's change is open.

Called by `ops/change` through the host; the agent looks at its age alone. It must not decide anything.
"""

from __future__ import annotations

import json
import os
from typing import Any

from pacha.adapters import disk


class ChangeFile:
    """The file at `path`."""

    def __init__(self, path: str) -> None:
        self._path = path

    def read(self) -> tuple[dict[str, Any], int] | None:
        """(what was written, when in nanoseconds since the epoch); None where no change is open."""
        try:
            with open(self._path, encoding="utf-8") as handle:
                when = os.fstat(handle.fileno()).st_mtime_ns
                words = json.load(handle)
        except FileNotFoundError:
            return None
        except ValueError:  # cut off by a crash: it is open all the same
            words = None
        return (words if isinstance(words, dict) else {}), when

    def write(self, words: dict[str, Any]) -> None:
        """Open the change, lastingly."""
        disk.replace(self._path, json.dumps(words).encode())

    def remove(self) -> None:
        """Close it."""
        os.unlink(self._path)
