"""The packages of a deployment: which are lacking, and installing them by the system's own tools.

Called by `ops/receive`, under the lock of live files. What is installed stays, however the push ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pacha.core.errors import Failed

if TYPE_CHECKING:
    from pacha.ops.host import Host


def lacking(host: Host, names: Sequence[str]) -> list[str]:
    """Those of the packages that are not installed."""
    if not names:
        return []
    present = host.system.present()
    return [name for name in names if name.encode() not in present]


def install(host: Host, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """(those that are there now, those that are not after all). Failed where there is nothing to ask."""
    system, line = host.system, host.report.tool_output
    if not system.family():
        raise Failed("there is no package manager here that Pacha knows", hint="install them otherwise")
    wishes = [(name.encode(), None) for name in names]
    if system.install(wishes, line) != 0:
        system.refresh(line)  # what the repositories have may have moved on
        system.install(wishes, line)
    left = lacking(host, names)
    return [name for name in names if name not in left], left
