"""A log that keeps what it is told, for what takes one."""

from __future__ import annotations

from typing import Any


class Said:
    """`lines` are its messages, of every level."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, **fields: Any) -> None:
        """Keep one."""
        self.lines.append(message)

    warning = error = info
