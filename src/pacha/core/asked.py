"""What servers were asked to forget and have not done: the value, and the name of the file that holds it.

Called by `ops/forget`, `ops/send` and the adapter of the file; `status` only looks whether that is there.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

NAME = "forgets.json"


class Asked(NamedTuple):
    """To remove every content of a store path but that with the file hash `keep` (empty: none). `servers` are
    those that have not done it, each with its refusal in words, or empty.
    """

    path: bytes
    keep: bytes
    time_ns: int
    servers: Mapping[str, str]
