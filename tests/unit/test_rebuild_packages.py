"""The order in which a rebuild installs packages, and what it makes of an installation that was cut short.

The package manager is a small model of apt in the two points that matter here: what a package recommends comes
with it and never later, and one package that is not to be had stops a transaction. `tests/rebuild/test_debian`
does the same with the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pacha.core.errors import Failed
from pacha.core.facts import Facts, Package
from pacha.core.packages import Deviation
from pacha.ops.host import Host
from pacha.ops.rebuild_packages import install, is_under_way

RECOMMENDED = {b"cron": [b"mta", b"mailx"], b"web": []}
TOLD = Facts({}, {"apt": {name: Package(b"1") for name in RECOMMENDED}}, (), {})


class Killed(BaseException):
    """As a process that is killed: nothing is tidied up."""


class Apt:
    """A root with apt; it is killed once it has installed so many packages."""

    def __init__(self, killed_after: int = 99, lacking: Sequence[bytes] = ()) -> None:
        self.there: dict[bytes, bytes] = {b"base": b"1"}
        self.automatic: set[bytes] = set()
        self.killed_after = killed_after
        self.cut_after = 99  # so many packages in, apt itself is killed, and whoever runs it goes on
        self.lacking = lacking

    def along(self, wishes: Sequence[tuple[bytes, bytes | None]]) -> list[bytes]:
        return [more for name, _ in wishes if name not in self.there for more in RECOMMENDED.get(name, [])]

    def install(self, wishes: Sequence[tuple[bytes, bytes | None]], line: Callable[[bytes], None]) -> int:
        names = [name for name, _ in wishes]
        if set(names) & set(self.lacking):
            line(b"E: Unable to locate package\n")
            return 100
        for name in [*names, *self.along(wishes)]:
            if len(self.there) > self.killed_after:
                raise Killed
            if len(self.there) > self.cut_after:
                self.cut_after = 99
                return 137
            self.there[name] = b"1"
        return 0

    def mark(self, packages: Mapping[bytes, Package], line: Callable[[bytes], None]) -> None:
        for name, package in packages.items():
            (self.automatic.add if package.is_automatic else self.automatic.discard)(name)

    def available(self, names: Sequence[bytes]) -> dict[bytes, list[bytes]]:
        return {name: [b"1"] for name in names if name not in self.lacking}

    def present(self) -> Mapping[bytes, bytes]:
        return dict(self.there)

    def installed(self) -> dict[bytes, Package]:
        return {name: Package(b"1") for name in self.there if name not in self.automatic}

    def refresh(self, line: Callable[[bytes], None]) -> None: ...
    def family(self) -> str:
        return "apt"


def run(system: Apt, progress: dict[str, Any]) -> list[Deviation]:
    report = SimpleNamespace(note=lambda words: None, tool_output=lambda line: None)
    host = cast("Host", SimpleNamespace(system=system, report=report))
    return install(host, TOLD, progress, lambda: None)


@pytest.mark.parametrize("after", range(1, 4))
def test_killed_anywhere_the_next_run_brings_what_one_run_would_have_brought(after: int) -> None:
    whole = Apt()
    assert run(whole, {}) == []
    system, progress = Apt(killed_after=after), dict[str, Any]()
    with pytest.raises(Killed):
        run(system, progress)
    system.killed_after = 99
    assert is_under_way(progress)
    assert run(system, progress) == []
    assert system.there == whole.there
    assert system.automatic == whole.automatic == {b"mta", b"mailx"}


@pytest.mark.parametrize("after", range(1, 4))
def test_where_apt_alone_is_killed_the_same_run_completes_it(after: int) -> None:
    whole, system = Apt(), Apt()
    assert run(whole, {}) == []
    system.cut_after = after
    assert run(system, {}) == []
    assert (system.there, system.automatic) == (whole.there, whole.automatic)


def test_what_cannot_be_had_is_told_and_stops_nothing_else() -> None:
    system = Apt(lacking=[b"web"])
    (short,) = run(system, {})
    assert (short.name, short.version) == (b"web", None)
    assert b"cron" in system.there


def test_where_nothing_works_the_last_words_are_told() -> None:
    class Broken(Apt):
        def install(self, wishes: Sequence[tuple[bytes, bytes | None]], line: Callable[[bytes], None]) -> int:
            line(b"E: dpkg was interrupted\n")
            return 100

    with pytest.raises(Failed, match="dpkg was interrupted"):
        run(Broken(), {})
