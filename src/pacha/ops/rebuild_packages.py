"""The packages of a rebuild: one transaction of the root's package manager, and what a killed one has left.

Called by `ops/rebuild` in its phase of packages, inside the lock. Which packages there shall be is decided by
`core/packages`, how they are installed by `adapters/packages`; here is the order, and what to do where not
all of them can be had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
        wishes = [(step.name, step.version) for step in steps if step.action != MARK]
        self._expect(wishes)
        if wishes and system.install(wishes, self._said) != 0:
            words = "not all packages can be had in the captured versions: taking the newest"
            self._host.report.note(words)
            self._install_what_can_be([step for step in steps if step.action == INSTALL])
        present = self._complete()
        marked = {name: p for family in told.packages.values() for name, p in family.items()}
        system.mark({name: p for name, p in marked.items() if name in present}, self._said)
        return deviations + outcome(steps, present)

    def _said(self, line: bytes) -> None:
        self._last_words = line.decode("utf-8", "replace").strip() or self._last_words
        self._host.report.tool_output(line)

    def _expect(self, wishes: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Write down what installing these brings along.

        What a package recommends is installed with it, never later; so nobody could tell after a transaction
        that was cut short that half of it is missing.
        """
        along = set(self._system.along(wishes)) - self._system.present().keys() if wishes else set()
        known = self._progress.get(_ALONG, [])
        self._progress[_ALONG] = sorted({*known, *(name.decode() for name in along)})
        self._save()

    def _complete(self) -> Mapping[bytes, bytes]:
        """What was to come along is there, however often it took, and counts as that; what there is then."""
        system = self._system
        names = [name.encode() for name in self._progress[_ALONG]]
        present = system.present()
        lacking = [name for name in names if name not in present]
        available = system.available(lacking)
        wishes = [(name, None) for name in lacking if name in available]
        if wishes:
            if system.install(wishes, self._said) != 0:
                said = ", ".join(printable(name.decode()) for name, _ in wishes)
                self._host.report.note(f"not installed, though it came along then: {said}")
            present = system.present()
        came = {name: Package(b"", is_automatic=True) for name in names if name in present}
        system.mark(came, self._said)
        return present

    def _install_what_can_be(self, steps: Sequence[PackageStep]) -> None:
        """Without versions; then, as one that is not to be had stops the transaction, without those."""
        system = self._system
        available = system.available([step.name for step in steps])
        newest = [(step.name, None) for step in steps if step.name in available]
        self._expect(newest)
        if not newest or system.install(newest, self._said) == 0:
            return
        system.refresh(self._said)  # the first try may have met what a killed run had left half done
        if system.install(newest, self._said) != 0:
            raise Failed(
                f"the packages could not be installed: {printable(self._last_words)}",
                hint="-v shows all of it; run it again: it goes on",
            )
