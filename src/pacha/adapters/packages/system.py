"""What a root's system is and has installed, by whichever family of package managers it has.

Made by `cli/session` for a host's tree, used by `ops/facts` and `ops/rebuild`. Files are read beneath the
root like all others of it. A capture asks for the signature alone: some ten looks at a status.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from pacha.adapters import inside
from pacha.adapters.files.stage import stage, unstage
from pacha.adapters.files.tree import Tree
from pacha.adapters.hooks import Hooks
from pacha.adapters.packages.apk import Apk
from pacha.adapters.packages.apt import Apt
from pacha.adapters.packages.family import Family, Unreadable, Wish
from pacha.adapters.packages.pacman import Pacman
from pacha.adapters.packages.rpm import Dnf, Zypper
from pacha.core.errors import Failed
from pacha.core.facts import Facts, Package

FAMILIES: tuple[Family, ...] = (Apt(), Dnf(), Zypper(), Apk(), Pacman())
_RELEASE = (b"/usr/lib/os-release", b"/etc/os-release")
_AT_MOST = 200_000_000  # bytes of one package database
_KEY_AT_MOST = 1_000_000
_TOLD = {"ID": "id", "VERSION_ID": "version", "VERSION_CODENAME": "codename", "PRETTY_NAME": "name"}
# No service is to start before its files are there: Debian's tools ask this program (invoke-rc.d(8)). Ours is
# known by its second line, so that one of a killed Pacha goes with the next. The shell, told to end, does so
# after its command has, and tidies up.
_BLOCK, _OURS = b"/usr/sbin/policy-rc.d", b"# made by pacha rebuild"
_NO_SERVICE = (
    "sh",
    "-c",
    """p=/usr/sbin/policy-rc.d; ours=
trap : TERM
if [ ! -e $p ] || grep -q '^# made by pacha rebuild$' $p; then
    ours=1
    [ ! -d /usr/sbin ] || printf '#!/bin/sh\\n# made by pacha rebuild\\nexit 101\\n' >$p
    chmod -f 755 $p
fi
"$@"; code=$?
[ -z "$ours" ] || rm -f $p
exit $code""",
    "sh",
)
_SERVICES_AGAIN = (
    "sh",
    "-c",
    "p=/usr/sbin/policy-rc.d; if grep -qs '^# made by pacha rebuild$' $p; then rm -f $p; fi",
)


class System:
    """The system below a tree's root."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    # -- what a family is given --------------------------------------------------------------------

    def read(self, path: bytes) -> bytes:
        """A file, empty where there is none."""
        return self._tree.content(path, _AT_MOST)

    def names(self, path: bytes) -> list[bytes]:
        """The entries of a directory, none where there is none."""
        try:
            with self._tree.directory(path) as directory:
                return directory.names()
        except OSError:
            return []

    def run(self, words: Sequence[str]) -> bytes:
        """What a command says inside the root; raise Unreadable where it fails."""
        try:
            code, said, complained = inside.ask(self._tree.root, words)
        except OSError as problem:
            raise Unreadable(f"{words[0]}: {problem.strerror}") from problem
        if code != 0:
            last = (complained.strip().splitlines() or [b""])[-1].decode("utf-8", "replace")
            raise Unreadable(f"{words[0]} ended with {code}: {last}")
        return said

    # -- facts -------------------------------------------------------------------------------------

    def families(self) -> list[Family]:
        """Those that are there: one, as a rule."""
        return [family for family in FAMILIES if any(self._is_there(path) for path in family.signs)]

    def signature(self) -> bytes:
        """Changes with whatever a package manager does; empty where it is not ours to tell."""
        if os.geteuid() != 0:
            return b""
        marks = dict.fromkeys(path for family in FAMILIES for path in (*family.signs, *family.marks))
        told = [self._status(path) for path in (*marks, *_RELEASE)]
        return b"|".join(told) if any(told) else b""

    def facts(self, wanted: Iterable[str], is_tracked: Callable[[bytes], bool]) -> Facts:
        """What there is to tell now; `is_tracked(path)` says of a key that it is kept as a file already.

        Raise Failed where a package manager does not say.
        """
        packages, repositories = {}, {}
        for family in self.families():
            try:
                packages[family.name] = family.installed(self)
                keys = [key for key in family.keys(self) if not is_tracked(key)]
            except (Unreadable, ValueError) as problem:
                words = f"what {family.name} has installed cannot be told: {problem}"
                raise Failed(words, hint="it stays in the history as it was") from problem
            repositories.update({key: self._tree.content(key, _KEY_AT_MOST) for key in keys})
        return Facts(self.release(), packages, tuple(name.encode() for name in wanted), repositories)

    def release(self) -> dict[str, str]:
        """The system as it names itself (os-release(5)), if it does, and the architecture."""
        text = next(filter(None, map(self.read, _RELEASE)), b"").decode("utf-8", "replace")
        pairs = [line.partition("=") for line in text.splitlines()]
        found = {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
        told = {name: found[key] for key, name in _TOLD.items() if found.get(key)}
        return {**told, "machine": os.uname().machine} if told else {}

    # -- installing --------------------------------------------------------------------------------

    def family(self) -> str:
        """The name of the family that is there, empty where there is none."""
        return next((family.name for family in self.families()), "")

    def repositories(self) -> tuple[bytes, ...]:
        """Where repositories and their keys are configured."""
        return tuple(path for family in self.families() for path in family.repositories)

    def present(self) -> Mapping[bytes, bytes]:
        """The version of every installed package."""
        return {name: v for family in self.families() for name, v in self._told(family.present).items()}

    def installed(self) -> dict[bytes, Package]:
        """What was installed on purpose, and what is held."""
        return {name: p for family in self.families() for name, p in self._told(family.installed).items()}

    def available(self, names: Sequence[bytes]) -> dict[bytes, list[bytes]]:
        """The versions that can be installed, as far as that is known yet."""
        found: dict[bytes, list[bytes]] = {}
        for family in self.families():
            with suppress(Unreadable):
                found.update(family.available(self, names))
        return found

    def refresh(self, line: Callable[[bytes], None]) -> None:
        """Finish what an interrupted run has left, and fetch what the repositories have."""
        for family in self.families():
            for words in family.refresh(self):
                self._follow(words, line)

    def install(self, wishes: Sequence[tuple[bytes, bytes | None]], line: Callable[[bytes], None]) -> int:
        """Install (name, version, None for the newest) in one transaction; the exit code."""
        return max(
            (
                self._follow(family.install([Wish(*wish) for wish in wishes]), line)
                for family in self.families()
            ),
            default=0,
        )

    def along(self, wishes: Sequence[tuple[bytes, bytes | None]]) -> list[bytes]:
        """What installing these would bring along, as far as that can be told beforehand."""
        found: list[bytes] = []
        for family in self.families():
            with suppress(Unreadable):
                found += family.along(self, [Wish(*wish) for wish in wishes])
        return found

    @property
    def holds_services(self) -> bool:
        """Whether an installation, under way or killed, keeps services from starting."""
        return _OURS in self.read(_BLOCK).splitlines()

    def mark(self, packages: Mapping[bytes, Package], line: Callable[[bytes], None]) -> None:
        """Let them count as installed on purpose or not, and as held."""
        for family in self.families():
            for words in family.mark(packages):
                self._follow(words, line)

    def settle(self, is_renamed: bool, line: Callable[[bytes], None]) -> None:
        """On a running machine: it takes the name of /etc/hostname where that is another, reads its units
        again, and starts those that are enabled.
        """
        if self._tree.root != b"/":
            return
        name = self.read(b"/etc/hostname").split(b"\n")[0].strip().decode("ascii", "replace")
        if is_renamed and name:
            inside.follow(b"/", ["hostname", name], line)
        if os.path.isdir("/run/systemd/system"):
            inside.follow(b"/", ["systemctl", "daemon-reload"], line)
            inside.follow(b"/", ["systemctl", "start", "--no-block", "default.target"], line)

    @contextmanager
    def staged(
        self, files: Mapping[bytes, bytes], timeout_ns: int, more: Mapping[str, str]
    ) -> Iterator[Hooks]:
        """Hooks of these files (`moment/name`), run inside the root, with `more` in their environment."""
        root = self._tree.root
        folder = os.fsdecode((b"" if root == b"/" else root) + stage(self._tree, files))
        outer = "" if root == b"/" else os.fsdecode(root)
        try:
            yield Hooks(folder, timeout_ns, inside.environment(more), (inside.entering(root), outer))
        finally:
            unstage(self._tree)

    def _told(self, ask: Callable[[System], Any]) -> Any:
        try:
            return ask(self)
        except Unreadable as problem:
            raise Failed(
                f"what is installed cannot be told: {problem}", hint="or --skip packages"
            ) from problem

    def _follow(self, words: Sequence[str], line: Callable[[bytes], None]) -> int:
        try:
            return inside.follow(self._tree.root, [*_NO_SERVICE, *words], line)
        except BaseException:
            # Told to end, or nobody takes the output: it may have been killed in the middle.
            with suppress(OSError):
                inside.ask(self._tree.root, _SERVICES_AGAIN)
            raise

    def _is_there(self, path: bytes) -> bool:
        return bool(self._status(path))

    def _status(self, path: bytes) -> bytes:
        try:
            status = self._tree.lstat(path)
        except OSError:
            status = None
        if status is None:
            return b""
        size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
        return b"%d:%d:%d:%d" % (status.st_ino, size, status.st_mtime_ns, status.st_ctime_ns)
