"""The case of a lost host: how long until its files lie on a fresh one, from a server on loopback.

Called by `run`. Beside `pacha rebuild`, with the host's own key, are a clone by Mercurial whose files rsync puts
in their place, and a restore by restic over sftp. Must not judge: `figures` does.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Protocol

import timing
import tree
from cases import Bench, Rival, attempt, expect, prepared
from contestants import HG_CONFIG, Mercurial, Restic
from figures import rebuilding
from ground import Plot
from remote import HOST, PachaSends, plain_client
from tests.sshd import Sshd, sshd
from timing import Command


class Keeper(Rival, Protocol):
    """What has a host's files on a server, and brings them to another."""

    modes: bool  # whether it knows them

    def keep(self, plot: Plot, server: Sshd) -> None: ...
    def bring(self, plot: Plot, fresh: Path) -> list[Command]: ...


def lost(plot: Plot) -> Path:
    """The root of the host that is lost; its tree is below."""
    return plot.root / "lost"


class PachaRebuilds(PachaSends):
    """`pacha rebuild` of nothing but files: packages and accounts are this machine's."""

    modes = True

    def keep(self, plot: Plot, server: Sshd) -> None:
        self.prepare(plot)
        self.join(plot, server)
        config = plot.root / "config" / "pacha.toml"
        self._reach = config.read_text()
        config.write_text(f'{self._reach}root = "{lost(plot)}"\n')
        timing.run([self.pacha(plot, "watch", "/tree")])

    def bring(self, plot: Plot, fresh: Path) -> list[Command]:
        config = plot.root / f"{fresh.name}.toml"
        config.write_text(f'{self._reach}root = "{fresh}"\n')
        own = ("--config", str(config), "--state", str(plot.root / f"{fresh.name}.state"))
        return [self.pacha(plot, *own, "rebuild", HOST, "-y", "--skip", "packages", "--skip", "users")]


class Clone(Mercurial):
    """A clone of a repository on the server, and rsync of its files."""

    name = "hg clone + rsync"
    modes = False

    def keep(self, plot: Plot, server: Sshd) -> None:
        plain_client(plot, server, kept=False)
        (plot.home / "hgrc").write_text(HG_CONFIG)
        place = lost(plot) / "tree"
        commands = (("init",), ("commit", "-q", "-A", "-m", "first"))
        timing.run([self.command(plot, *words, cwd=place) for words in commands])

    def bring(self, plot: Plot, fresh: Path) -> list[Command]:
        clone = str(plot.root / f"{fresh.name}.clone")
        ssh = ("--ssh", f"ssh -F {plot.root}/ssh", "--remotecmd", self.found() or self.program)
        fetched = self.command(
            plot, "clone", "-q", *ssh, f"ssh://hub/{lost(plot)}/tree", clone, cwd=plot.root
        )
        words = ("rsync", "-aAXH", "--exclude=/.hg", f"{clone}/", f"{fresh}/tree/")
        return [fetched, Command(words, plot.root, self.environment(plot))]


class ResticOverSftp(Restic):
    name = "restic restore over sftp"
    modes = True

    def environment(self, plot: Plot) -> dict[str, str]:
        return {**super().environment(plot), "RESTIC_REPOSITORY": f"sftp:hub:{self.store(plot)}"}

    def keep(self, plot: Plot, server: Sshd) -> None:
        plain_client(plot, server, kept=False)
        place = lost(plot)
        timing.run([self._there(plot, place, "init"), self._there(plot, place, "backup", "-q", "tree")])

    def bring(self, plot: Plot, fresh: Path) -> list[Command]:
        return [self._there(plot, fresh, "restore", "latest", "-q", "--target", str(fresh))]

    def _there(self, plot: Plot, place: Path, *words: str) -> Command:
        sftp = f"sftp.command=ssh -F {plot.root}/ssh hub -s sftp"
        return self.command(plot, "-o", sftp, *words, cwd=place)


def run_rebuild(bench: Bench) -> None:
    for files, rounds in bench.scale.first_rounds.items():
        _rebuilt(bench, files, rounds)


def _rebuilt(bench: Bench, files: int, rounds: int) -> None:
    task = rebuilding(files)
    wanted: list[Keeper] = [PachaRebuilds(bench.pacha.argv, bench.pacha.python), Clone(), ResticOverSftp()]
    with ExitStack() as stack:

        def keep(keeper: Keeper, plot: Plot) -> None:
            lost(plot).mkdir()
            tree.grow(lost(plot) / "tree", files)
            keeper.keep(plot, stack.enter_context(sshd(plot.root / "sshd", "Subsystem sftp internal-sftp")))

        kept = prepared(bench, stack, task, files * (1 + rounds), wanted, keep)
        for turn in range(rounds):
            for keeper, plot in kept:
                attempt(bench, task, keeper, turn, partial(_brought, plot, files, turn))


def _brought(plot: Plot, files: int, turn: int, keeper: Keeper) -> float:
    """The seconds until the files are on a fresh host."""
    fresh = plot.root / f"fresh-{turn}"
    os.makedirs(fresh)
    seconds = timing.timed(keeper.bring(plot, fresh))
    names = tree.names(files)
    before, after = (tree.fingerprint(top / "tree", names, keeper.modes) for top in (lost(plot), fresh))
    expect(before == after, "the files are not what they were")
    return seconds


CASES: dict[str, Callable[[Bench], None]] = {"rebuild": run_rebuild}
