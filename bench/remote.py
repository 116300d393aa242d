"""The case with a server: how long a write takes to be on another machine, played by an sshd on loopback.

Called by `run`. Beside the agent, which sends what it captures, run what people build themselves: a loop of
inotifywait and git with a push, and lsyncd, each with a new ssh connection every time and with a kept one.
Must not judge: `figures` does.
"""

import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import timing
import tree
from cases import SMALL, Bench, Rival, attempt, expect, prepared
from contestants import SYSTEM_PATH, InotifyGit
from figures import sending
from ground import Plot
from subject import CHECKOUT, Pacha
from timing import Command

sys.path.insert(0, str(CHECKOUT))
from tests.sshd import Sshd, sshd

APART = 0.3  # seconds between two writes
LONGEST = 60.0  # seconds for one write to arrive
HOST = "bench"
_KEPT = """\
    ControlMaster auto
    ControlPath {folder}/kept
    ControlPersist 60
"""
_PUSHING = """\
inotifywait -m -r -e close_write,create,delete,move,attrib --exclude '/\\.git(/|$)' . |
while read -r _; do git add -A && git commit -q -m auto && git push -q hub main; done
"""
_LSYNCD = """\
settings {{ nodaemon = true }}
sync {{ default.rsync, source = "{tree}", target = "hub:{copy}", delay = 1,
        rsync = {{ archive = true, rsh = "{ssh}" }} }}
"""


class Follower(Rival, Protocol):
    """What brings a write to the server by itself."""

    def prepare(self, plot: Plot) -> None: ...
    def first(self, plot: Plot) -> list[Command]: ...
    def join(self, plot: Plot, server: Sshd) -> None: ...
    def following(self, plot: Plot) -> AbstractContextManager[Any]: ...
    def arrivals(self, plot: Plot, name: str) -> Callable[[], object]: ...  # gives another value with each


class PachaSends(Pacha):
    """The agent, with a server that `pacha server init` and `pacha host add` have set up."""

    def join(self, plot: Plot, server: Sshd) -> None:
        key = server.key(HOST)
        there = plot.root / "server"
        there.mkdir()
        serve = f'hosts = "{there}/hosts"\nauthorized_keys = "{server.authorized_keys}"\n'
        (there / "pacha.toml").write_text(f"[serve]\n{serve}")
        own = ("--config", str(there / "pacha.toml"), "--state", str(there / "state"))
        added = ("host", "add", HOST, "--key", f"{key}.pub")
        timing.run([self.pacha(plot, *own, "server", "init"), self.pacha(plot, *own, *added)])
        config = f'host = "{HOST}"\nserver = "hub"\nssh = "{server.command(key)}"\n'
        (plot.root / "config" / "pacha.toml").write_text(config)

    def arrivals(self, plot: Plot, _name: str) -> Callable[[], object]:
        """What the server has acknowledged, which it has on its disk: none of the others waits for that."""
        index = sqlite3.connect(f"file:{plot.root}/state/index.sqlite?mode=ro", uri=True)
        return lambda: index.execute("SELECT node FROM servers").fetchall()


class GitPush(InotifyGit):
    """A loop that commits and pushes with git whatever inotifywait tells of, at once."""

    name = "inotifywait + git push"
    kept = False
    loop = _PUSHING

    def environment(self, plot: Plot) -> dict[str, str]:
        return {**super().environment(plot), "GIT_SSH_COMMAND": f"ssh -F {plot.root}/ssh"}

    def join(self, plot: Plot, server: Sshd) -> None:
        plain_client(plot, server, self.kept)
        bare = str(plot.root / "server.git")
        timing.run([self.command(plot, "init", "-q", "--bare", bare)])
        timing.run([self.command(plot, "remote", "add", "hub", f"hub:{bare}")])

    def first(self, plot: Plot) -> list[Command]:
        return [*super().first(plot), self.command(plot, "push", "-q", "hub", "main")]

    def arrivals(self, plot: Plot, _name: str) -> Callable[[], object]:
        return partial(_state, plot.root / "server.git" / "refs" / "heads" / "main")


class GitPushKept(GitPush):
    name = "inotifywait + git push, kept connection"
    kept = True


class Lsyncd:
    """lsyncd with rsync and a delay of one second; it keeps no history."""

    kept = False
    name = "lsyncd, delay 1"

    @property
    def missing(self) -> str | None:
        return None if shutil.which("lsyncd", path=SYSTEM_PATH) else "lsyncd is not installed"

    def prepare(self, plot: Plot) -> None:
        (plot.root / "copy").mkdir()

    def first(self, plot: Plot) -> list[Command]:
        return [Command(("cp", "-a", f"{plot.tree}/.", f"{plot.root}/copy"), plot.root, dict(os.environ))]

    def join(self, plot: Plot, server: Sshd) -> None:
        plain_client(plot, server, self.kept)
        words = _LSYNCD.format(tree=plot.tree, copy=plot.root / "copy", ssh=f"ssh -F {plot.root}/ssh")
        (plot.root / "lsyncd.lua").write_text(words)

    @contextmanager
    def following(self, plot: Plot) -> Iterator[None]:
        command = Command(("lsyncd", str(plot.root / "lsyncd.lua")), plot.root, dict(os.environ))
        with timing.beside(command, plot.scratch / "lsyncd"):
            time.sleep(5)
            yield

    def arrivals(self, plot: Plot, name: str) -> Callable[[], object]:
        return partial(_state, plot.root / "copy" / name)


class LsyncdKept(Lsyncd):
    name = "lsyncd, delay 1, kept connection"
    kept = True


def plain_client(plot: Plot, server: Sshd, kept: bool) -> None:
    """Let a key in for everything, and say in `<plot>/ssh` how."""
    key = server.key("plain")
    server.authorize(key)
    text = server.client(key).read_text()
    (plot.root / "ssh").write_text(text + (_KEPT.format(folder=plot.root) if kept else ""))


def run_send(bench: Bench) -> None:
    task = sending(SMALL)
    wanted: list[Follower] = [
        PachaSends(bench.pacha.argv, bench.pacha.python),
        GitPush(),
        GitPushKept(),
        Lsyncd(),
        LsyncdKept(),
    ]
    with ExitStack() as stack:

        def follow(follower: Follower, plot: Plot) -> None:
            tree.grow(plot.tree, SMALL)
            server = stack.enter_context(sshd(plot.root / "sshd"))
            follower.prepare(plot)
            follower.join(plot, server)
            timing.run(follower.first(plot))
            stack.enter_context(follower.following(plot))

        followed = prepared(bench, stack, task, SMALL, wanted, follow)
        for turn, name in enumerate(tree.picks(SMALL, bench.scale.writes)):
            for follower, plot in followed:
                attempt(bench, task, follower, turn, partial(_sent, plot, name, turn))


def _sent(plot: Plot, name: str, turn: int, follower: Follower) -> float:
    """Write a file; the milliseconds until it is on the server."""
    path, state = plot.tree / name, follower.arrivals(plot, name)
    content, before = tree.edited(path, turn), state()
    os.sync()
    begin = time.perf_counter()
    path.write_bytes(content)
    while state() == before:
        expect(time.perf_counter() < begin + LONGEST, f"nothing arrived within {LONGEST:.0f} s")
        time.sleep(0.001)
    seconds = time.perf_counter() - begin
    time.sleep(APART)
    return seconds * 1000


def _state(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


CASES: dict[str, Callable[[Bench], None]] = {"send": run_send}
