"""The histories that a server keeps, to be looked back at.

Made by `cli/session` for whoever reads another host's history, as the account that serves. All are read
through one Mercurial child, one after the other.
"""

from __future__ import annotations

from pacha.adapters import machine
from pacha.adapters.hg.store import Store
from pacha.core.errors import NotFound
from pacha.ops.host import Kept
from pacha.server.registry import Registry


class KeptHistories:
    """Those of one registry; `close` ends the child."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._store = Store(registry.hosts)

    def names(self) -> list[str]:
        """Every host that has sent something, whether it is still let in or not."""
        return [name for name in self.registry.histories() if self.registry.has_revisions(name)]

    def past(self, name: str) -> Kept:
        """One host's history, until the next is asked for; NotFound where there is none."""
        self._store.turn_to(self.registry.store(name))
        if not self._store.signature():
            raise NotFound(f"there is no history of {name} here", hint="pacha host list")
        return Kept(name, self._store, machine.now_ns)

    def close(self) -> None:
        """End the child."""
        self._store.close()
