"""The port that every family of package managers fits, and what a family is given to look at a system.

`adapters/packages/system` chooses the family; each lives in a module of its own name. A family says what it
reads and what is to be run, as data: it must not open a file or start a process itself, so that it works on
any root, and is tested on what a real one has left behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from pacha.core.facts import Package


class Unreadable(Exception):
    """What a package manager keeps, or says, makes no sense; the text says what."""


class Root(Protocol):
    """The system that is looked at, below its root."""

    def read(self, path: bytes) -> bytes:
        """A file, empty where there is none."""

    def names(self, path: bytes) -> list[bytes]:
        """The entries of a directory, none where there is none."""

    def run(self, words: Sequence[str]) -> bytes:
        """What a command says, run inside the root; raise Unreadable where it fails."""


class Wish(NamedTuple):
    """A package that shall be there; `version` None: whichever is newest."""

    name: bytes
    version: bytes | None


class Family(Protocol):
    """One kind of package manager."""

    @property
    def name(self) -> str:
        """What its facts are called."""

    @property
    def signs(self) -> tuple[bytes, ...]:
        """The family is there where one of these is."""

    @property
    def marks(self) -> tuple[bytes, ...]:
        """Whatever it does changes the status of one of these."""

    @property
    def repositories(self) -> tuple[bytes, ...]:
        """Where its repositories and their keys are configured: they come back before the packages."""

    def installed(self, root: Root) -> dict[bytes, Package]:
        """What was installed on purpose, and what is held."""

    def keys(self, root: Root) -> list[bytes]:
        """Files elsewhere that the repositories need: keys that no package brought."""

    def present(self, root: Root) -> Mapping[bytes, bytes]:
        """The version of every installed package, by name."""

    def refresh(self, root: Root) -> list[list[str]]:
        """The commands that mend an interrupted run and fetch what the repositories have."""

    def available(self, root: Root, names: Sequence[bytes]) -> dict[bytes, list[bytes]]:
        """The versions of each that can be installed, the newest first; one without any is left out."""

    def install(self, wishes: Sequence[Wish]) -> list[str]:
        """The command that installs all of these in one transaction."""

    def along(self, root: Root, wishes: Sequence[Wish]) -> list[bytes]:
        """What installing these would bring along, as far as the package manager says so beforehand."""

    def mark(self, packages: Mapping[bytes, Package]) -> list[list[str]]:
        """The commands that let these count as installed on purpose or not, and as held."""


def paragraphs(text: bytes) -> Iterator[dict[bytes, bytes]]:
    """The stanzas of a Debian control file, without continuation lines (deb822(5))."""
    for block in text.split(b"\n\n"):
        found = {}
        for line in block.split(b"\n"):
            key, colon, value = line.partition(b":")
            if colon and not line.startswith((b" ", b"\t")):
                found[key] = value.strip()
        if found:
            yield found


def text(value: bytes) -> str:
    """A name or version as a word of a command line."""
    return value.decode("utf-8", "surrogateescape")
