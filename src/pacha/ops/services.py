"""Services that have to do with what a push changed: restarted, reloaded, and once more when it is undone.

Called by `ops/receive` and `ops/undo`. Which there are, the deployment says; how, `adapters/units`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pacha.core.parcel import Deployment, Unit
from pacha.core.patterns import Ignore

if TYPE_CHECKING:
    from pacha.ops.host import Host


class Service(NamedTuple):
    """What was done with a service."""

    name: str
    action: str
    ok: bool


def concerned(deployment: Deployment, changed: Sequence[bytes]) -> list[tuple[str, str]]:
    """(action, name) of each service that has to do with the paths that changed; a restart does for both."""
    restart = [unit.name for unit in deployment.restart if _is_concerned(unit, changed)]
    reload = [unit.name for unit in deployment.reload if _is_concerned(unit, changed)]
    found = [("restart", name) for name in dict.fromkeys(restart)]
    return found + [("reload", name) for name in dict.fromkeys(reload) if name not in restart]


def _is_concerned(unit: Unit, changed: Sequence[bytes]) -> bool:
    if not unit.paths:
        return bool(changed)
    patterns = Ignore(unit.paths, built_in=False)
    return any(patterns.matches(path) for path in changed)


def tend(host: Host, wanted: Sequence[tuple[str, str]]) -> Iterator[Service]:
    """Restart and reload, one after the other."""
    units, line = host.units, host.report.tool_output
    units.reread(line)
    for action, name in wanted:
        yield Service(name, action, units.run(action, name, line) == 0)


def serve_again(host: Host, services: Sequence[Sequence[str]]) -> None:
    """Have services that were restarted or reloaded, each `(action, name)`, take what was put back."""
    units, line = host.units, host.report.tool_output
    if services:
        units.reread(line)
    for action, name in services:
        if units.run(action, name, line) != 0:
            host.report.note(f"the service {name} could not be {action}ed again")
