"""Arch's family: pacman, which keeps a folder for each package with its reason (alpm-db-desc(5), pacman(8)).

Repositories have the newest version alone, so any other is a deviation. What is held is in pacman.conf.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pacha.adapters.packages.family import Root, Wish, text
from pacha.core.facts import Package

_LOCAL = b"/var/lib/pacman/local"


class Pacman:
    """pacman."""

    name = "pacman"
    signs = (_LOCAL,)
    marks = (_LOCAL,)
    repositories = (b"/etc/pacman.conf", b"/etc/pacman.d")

    def installed(self, root: Root) -> dict[bytes, Package]:
        """Those without `%REASON%`: it stands for what came as a dependency."""
        return {
            d[b"NAME"]: Package(d.get(b"VERSION", b"")) for d in _descriptions(root) if b"REASON" not in d
        }

    def present(self, root: Root) -> Mapping[bytes, bytes]:
        """All of them."""
        return {d[b"NAME"]: d.get(b"VERSION", b"") for d in _descriptions(root)}

    def keys(self, root: Root) -> list[bytes]:
        """None: they lie in /etc/pacman.d."""
        return []

    def refresh(self, root: Root) -> list[list[str]]:
        """What the repositories have."""
        return [["pacman", "-Sy", "--noconfirm"]]

    def available(self, root: Root, names: Sequence[bytes]) -> dict[bytes, list[bytes]]:
        """By the list of everything that the repositories have: `repository name version`."""
        wanted = set(names)
        lines = [line.split() for line in root.run(["pacman", "-Sl"]).splitlines()] if names else []
        return {line[1]: [line[2]] for line in reversed(lines) if len(line) > 2 and line[1] in wanted}

    def install(self, wishes: Sequence[Wish]) -> list[str]:
        """One pacman, by name alone."""
        return ["pacman", "-S", "--noconfirm", "--needed", "--", *(text(wish.name) for wish in wishes)]

    def along(self, root: Root, wishes: Sequence[Wish]) -> list[bytes]:
        """Nothing but dependencies, without which pacman would not go on either."""
        return []

    def mark(self, packages: Mapping[bytes, Package]) -> list[list[str]]:
        """As installed on purpose."""
        return [["pacman", "-D", "--asexplicit", *map(text, packages)]] if packages else []


def _descriptions(root: Root) -> list[dict[bytes, bytes]]:
    """The first line of each field of every package's `desc`."""
    found = []
    for folder in root.names(_LOCAL):
        lines = iter(root.read(_LOCAL + b"/" + folder + b"/desc").splitlines())
        fields = {
            line.strip(b"%"): next(lines, b"")
            for line in lines
            if line.startswith(b"%") and line.endswith(b"%")
        }
        if b"NAME" in fields:
            found.append(fields)
    return found
