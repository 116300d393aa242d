"""The tools that Pacha is measured against, each told what to do in its own words.

Called by `cases`. A contestant only says which commands do a task on a plot; `timing` runs them. Must not
read or change the configuration of the machine or of the person: each has a home, a configuration and an
environment of its own.
"""

import json
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import timing
from ground import Plot
from timing import Command, CommandError

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ETCKEEPER_SOURCE = Path("/etc/etckeeper")  # copied from, never run with
_GIT_CONFIG = """\
[user]
\tname = Bench
\temail = bench@example.org
[init]
\tdefaultBranch = main
[gc]
\tauto = 0
[maintenance]
\tauto = false
"""
_LOOP = """\
inotifywait -m -r -e close_write,create,delete,move,attrib --exclude '/\\.git(/|$)' . |
while read -r _; do git add -A && git commit -q -m auto; done
"""
_LOOP_START = 60.0  # seconds until inotifywait has to watch
HG_CONFIG = "[ui]\nusername = Bench <bench@example.org>\n"


def clean_environment(plot: Plot) -> dict[str, str]:
    """What every contestant gets; nothing is inherited."""
    return {
        "PATH": SYSTEM_PATH,
        "HOME": str(plot.home),
        "TMPDIR": str(plot.scratch),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "GIT_CONFIG_GLOBAL": str(plot.home / "gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "HGRCPATH": str(plot.home / "hgrc"),
    }


class Contestant(ABC):
    """One tool. Every method but `prepare`, `revisions` and `following` gives commands and runs none."""

    name: str
    program: str

    @cached_property
    def missing(self) -> str | None:
        """Why it cannot take part, or None. Found out once a run."""
        return self.look_for()

    def look_for(self) -> str | None:
        return None if self.found() else f"{self.program} is not installed"

    def found(self) -> str | None:
        return shutil.which(self.program, path=SYSTEM_PATH)

    def environment(self, plot: Plot) -> dict[str, str]:
        return clean_environment(plot)

    def command(
        self, plot: Plot, *argv: str, accept: tuple[int, ...] = (0,), cwd: Path | None = None
    ) -> Command:
        program = self.found() or self.program
        return Command((program, *argv), cwd or plot.tree, self.environment(plot), accept)

    @abstractmethod
    def prepare(self, plot: Plot) -> None:
        """All that comes before the first capture: an empty repository where the tool has such a step."""

    @abstractmethod
    def first(self, plot: Plot) -> list[Command]:
        """Capture the whole tree for the first time."""

    @abstractmethod
    def unchanged(self, plot: Plot) -> list[Command]:
        """Look at the whole tree and find nothing to do."""

    @abstractmethod
    def change(self, plot: Plot, name: str, /) -> list[Command]:
        """Capture the one file that changed, named relative to the tree."""

    @abstractmethod
    def store(self, plot: Plot) -> Path:
        """The folder that holds the history."""

    @abstractmethod
    def revisions(self, plot: Plot) -> int:
        """How many revisions there are."""

    def restore(self, plot: Plot) -> list[Command]:
        """Bring the whole tree back to the first capture."""
        raise NotImplementedError(self.name)


class Git(Contestant):
    name = "git"
    program = "git"

    def prepare(self, plot: Plot) -> None:
        (plot.home / "gitconfig").write_text(_GIT_CONFIG)
        timing.run([self.command(plot, "init", "-q")])

    def first(self, plot: Plot) -> list[Command]:
        return [self.command(plot, "add", "-A"), self.command(plot, "commit", "-q", "-m", "first")]

    def unchanged(self, plot: Plot) -> list[Command]:
        nothing_to_commit = (1,)
        return [
            self.command(plot, "add", "-A"),
            self.command(plot, "commit", "-q", "-m", "nothing", accept=nothing_to_commit),
        ]

    def change(self, plot: Plot, name: str, /) -> list[Command]:
        return [self.command(plot, "add", "--", name), self.command(plot, "commit", "-q", "-m", "one")]

    def store(self, plot: Plot) -> Path:
        return plot.tree / ".git"

    def revisions(self, plot: Plot) -> int:
        return int(timing.output(self.command(plot, "rev-list", "--count", "HEAD")))


class InotifyGit(Git):
    """A loop that commits with git whatever inotifywait tells of, at once."""

    name = "inotifywait + git"
    loop = _LOOP

    def look_for(self) -> str | None:
        if shutil.which("inotifywait", path=SYSTEM_PATH) is None:
            return "inotifywait is not installed"
        return super().look_for()

    @contextmanager
    def following(self, plot: Plot) -> Iterator[None]:
        """The loop runs. Raise CommandError if it does not."""
        said = plot.scratch / "inotifywait"
        command = Command(("/bin/sh", "-c", self.loop), plot.tree, self.environment(plot))
        with timing.beside(command, said) as process:
            give_up = time.monotonic() + _LOOP_START
            while b"Watches established" not in said.read_bytes():
                if process.poll() is not None or time.monotonic() > give_up:
                    raise CommandError("inotifywait does not watch the tree")
                time.sleep(0.05)
            yield

    def tip(self, plot: Plot) -> Path:
        """The file that changes when a revision becomes readable."""
        return plot.tree / ".git" / "refs" / "heads" / "main"

    def newest(self, plot: Plot) -> str:
        """The newest revision, as another process reads it."""
        return timing.output(self.command(plot, "log", "-1", "--format=%H")).strip()


class Mercurial(Contestant):
    name = "hg"
    program = "hg"

    def prepare(self, plot: Plot) -> None:
        (plot.home / "hgrc").write_text(HG_CONFIG)
        timing.run([self.command(plot, "init")])

    def first(self, plot: Plot) -> list[Command]:
        return [self.command(plot, "commit", "-q", "-A", "-m", "first")]

    def unchanged(self, plot: Plot) -> list[Command]:
        return [self.command(plot, "commit", "-q", "-A", "-m", "nothing", accept=(1,))]

    def change(self, plot: Plot, name: str, /) -> list[Command]:
        return [self.command(plot, "commit", "-q", "-m", "one", name)]

    def store(self, plot: Plot) -> Path:
        return plot.tree / ".hg"

    def revisions(self, plot: Plot) -> int:
        return int(timing.output(self.command(plot, "log", "-r", "tip", "-T", "{rev}"))) + 1


class Etckeeper(Contestant):
    """etckeeper on git or on Mercurial, with a copy of its configuration in the plot."""

    program = "etckeeper"

    def __init__(self, base: Git | Mercurial) -> None:
        self.base = base
        self.name = f"etckeeper on {base.name}"

    def look_for(self) -> str | None:
        if not ETCKEEPER_SOURCE.is_dir():
            return "etckeeper is not installed"
        return super().look_for() or self.base.missing

    def environment(self, plot: Plot) -> dict[str, str]:
        return {**clean_environment(plot), "ETCKEEPER_CONF_DIR": str(plot.root / "etckeeper")}

    def prepare(self, plot: Plot) -> None:
        """Copy the configuration, make the empty repository. `init` adds the files, so it is timed."""
        shutil.copytree(ETCKEEPER_SOURCE, plot.root / "etckeeper", symlinks=True)
        settings = plot.root / "etckeeper" / "etckeeper.conf"
        lines = [line for line in settings.read_text().splitlines() if not line.startswith("VCS=")]
        settings.write_text("\n".join([*lines, f'VCS="{self.base.name}"', ""]))
        self.base.prepare(plot)

    def first(self, plot: Plot) -> list[Command]:
        return [self._etckeeper(plot, "init"), self._etckeeper(plot, "commit", "first")]

    def unchanged(self, plot: Plot) -> list[Command]:
        return [self._etckeeper(plot, "commit", "nothing", accept=(0, 1))]

    def change(self, plot: Plot, _name: str, /) -> list[Command]:
        return [self._etckeeper(plot, "commit", "one")]

    def store(self, plot: Plot) -> Path:
        return self.base.store(plot)

    def revisions(self, plot: Plot) -> int:
        return self.base.revisions(plot)

    def _etckeeper(self, plot: Plot, verb: str, *more: str, accept: tuple[int, ...] = (0,)) -> Command:
        return self.command(plot, verb, "-d", str(plot.tree), *more, accept=accept, cwd=plot.root)


class Restic(Contestant):
    name = "restic"
    program = "restic"

    def environment(self, plot: Plot) -> dict[str, str]:
        return {
            **clean_environment(plot),
            "RESTIC_REPOSITORY": str(self.store(plot)),
            "RESTIC_PASSWORD": "bench",
        }

    def prepare(self, plot: Plot) -> None:
        timing.run([self._restic(plot, "init")])

    def first(self, plot: Plot) -> list[Command]:
        return [self._backup(plot)]

    def unchanged(self, plot: Plot) -> list[Command]:
        return [self._backup(plot)]

    def change(self, plot: Plot, _name: str, /) -> list[Command]:
        return [self._backup(plot)]

    def restore(self, plot: Plot) -> list[Command]:
        return [self._restic(plot, "restore", "latest", "--target", str(plot.root))]

    def store(self, plot: Plot) -> Path:
        return plot.root / "restic"

    def revisions(self, plot: Plot) -> int:
        return len(json.loads(timing.output(self._restic(plot, "snapshots", "--json"))))

    def _backup(self, plot: Plot) -> Command:
        # A relative path: a restore then sets nothing on the folders above the tree.
        return self._restic(plot, "backup", "--host", "bench", os.path.relpath(plot.tree, plot.root))

    def _restic(self, plot: Plot, *argv: str) -> Command:
        return self.command(plot, *argv, cwd=plot.root)
