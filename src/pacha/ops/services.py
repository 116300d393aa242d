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


_STOP = "stop"


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


class Tending:
    """Restart and reload services, each `(action, name)`; what undoes that."""

    def __init__(self, host: Host, wanted: Sequence[tuple[str, str]]) -> None:
        self._host = host
        self._wanted = wanted
        self._begun = 0
        stopped = host.units.not_running([name for _, name in wanted]) if wanted else []
        # The same for each, but what did not run is stopped.
        self.back = [(_STOP if name in stopped else action, name) for action, name in wanted]

    @property
    def begun(self) -> list[tuple[str, str]]:
        """What undoes as much as was begun."""
        return self.back[: self._begun]

    def run(self) -> Iterator[Service]:
        """Do it, one after the other."""
        units, line = self._host.units, self._host.report.tool_output
        units.reread(line)
        units.forgive([name for _, name in self._wanted])
        for action, name in self._wanted:
            self._begun += 1
            yield Service(name, action, units.run(action, name, line) == 0)


def serve_again(host: Host, services: Sequence[Sequence[str]]) -> None:
    """Have services, each `(action, name)`, take what was put back, or stop again."""
    if not services:
        return
    units, line = host.units, host.report.tool_output
    stopping = [name for action, name in services if action == _STOP]
    for name in stopping:  # while systemd still knows by which files it was started
        if units.run(_STOP, name, line) != 0:
            host.report.note(f"the service {name} could not be stopped again")
    units.reread(line)
    units.forgive([name for _, name in services])
    for action, name in services:
        if name not in stopping and units.run(action, name, line) != 0:
            host.report.note(f"the service {name} could not be {action}ed again")
