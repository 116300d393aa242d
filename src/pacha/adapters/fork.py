"""What this process is, where `adapters/fork_server` has made it for a command that was handed over.

Set by that, asked by the command: a process that was started has neither.
"""

from __future__ import annotations

TYPE_CHECKING = False  # imported at every push: `typing` is not
if TYPE_CHECKING:
    from collections.abc import Callable

is_one = False
# What it does when whoever handed the command over has its exit code and is gone.
afterwards: list[Callable[[], object]] = []
