"""The packages of a rebuild: one transaction of the root's package manager, and what a killed one has left.

Called by `ops/rebuild` in its phase of packages, inside the lock. Which packages there shall be is decided by
`core/packages`, how they are installed by `adapters/packages`; here is the order, and what to do where not
all of them can be had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pacha.core.errors import Failed
from pacha.core.facts import Facts, Package
from pacha.core.packages import INSTALL, MARK, Deviation, PackageStep, outcome
from pacha.core.shown import printable
from pacha.ops.host import Host
from pacha.ops.rebuild_plan import plan_packages

_ALONG = "along"


def is_under_way(progress: Mapping[str, Any]) -> bool:
    """Whether a rebuild's progress tells of an installation that was begun."""
    return _ALONG in progress


def install(host: Host, told: Facts, progress: dict[str, Any], save: Callable[[], None]) -> list[Deviation]:
    """Install what was captured; what is not as it was after all. `save` writes the progress down.

    Raise Failed, with the package manager's last words, where it can do nothing.
    """
    return _Installation(host, progress, save).run(told)


class _Installation:
    def __init__(self, host: Host, progress: dict[str, Any], save: Callable[[], None]) -> None:
        self._host = host
        self._system = host.system
        self._progress = progress
        self._save = save
        self._last_words = ""  # of the package manager

    def run(self, told: Facts) -> list[Deviation]:
        system = self._system
        system.refresh(self._said)
        steps, deviations = plan_packages(self._host, told)
        wishes = [step for step in steps if step.action != MARK]
        with self._brought_along(wishes):
            if wishes and system.install(_named(wishes), self._said) != 0:
                words = "not all packages can be had in the captured versions: taking the newest"
                self._host.report.note(words)
                self._install_what_can_be(wishes)
        marked = {name: p for family in told.packages.values() for name, p in family.items()}
        present = system.present()
        system.mark({name: p for name, p in marked.items() if name in present}, self._said)
        return deviations + outcome(steps, present)

    def _said(self, line: bytes) -> None:
        self._last_words = line.decode("utf-8", "replace").strip() or self._last_words
        self._host.report.tool_output(line)

    @contextmanager
    def _brought_along(self, wishes: Sequence[PackageStep]) -> Iterator[None]:
        """Around an installation: what it brings along is there even if it is killed, and counts as that.

        What a package recommends is installed with it, never later; so whoever goes on after a kill could not
        tell that half of it is missing, had it not been written down.
        """
        system = self._system
        before: list[str] = self._progress.get(_ALONG, [])
        along = set(system.along(_named(wishes))) - system.present().keys() if wishes else set()
        self._progress[_ALONG] = sorted({*before, *(name.decode() for name in along)})
        self._save()
        yield
        present = system.present()
        lacking = [(name.encode(), None) for name in before if name.encode() not in present]
        if lacking and system.install(lacking, self._said) != 0:
            names = ", ".join(printable(name.decode()) for name, _ in lacking)
            self._host.report.note(f"not installed again after the interruption: {names}")
        came = {name.encode() for name in self._progress[_ALONG]} & system.present().keys()
        system.mark({name: Package(b"", is_automatic=True) for name in came}, self._said)

    def _install_what_can_be(self, wishes: Sequence[PackageStep]) -> None:
        """Without versions; then, as one that is not to be had stops the transaction, without those."""
        system = self._system
        available = system.available([wish.name for wish in wishes])
        missing = [wish.name for wish in wishes if wish.action == INSTALL and wish.name in available]
        newest = [(name, None) for name in missing]
        if not newest or system.install(newest, self._said) == 0:
            return
        system.refresh(self._said)  # the first try may have met what a killed run had left half done
        if system.install(newest, self._said) != 0:
            raise Failed(
                f"the packages could not be installed: {printable(self._last_words)}",
                hint="-v shows all of it; run it again: it goes on",
            )


def _named(wishes: Sequence[PackageStep]) -> list[tuple[bytes, bytes | None]]:
    return [(wish.name, wish.version) for wish in wishes]
