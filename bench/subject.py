"""Pacha itself as a contestant, and the interpreter that it runs on.

Called by `run` and `cases`. Must not import Pacha: what a person runs is what is measured.
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timing
from contestants import Contestant, clean_environment
from ground import Plot
from timing import Command, CommandError

CHECKOUT = Path(__file__).resolve().parent.parent
INSTALLED = CHECKOUT / "bench" / ".venv"  # peers that pip installs
_AGENT_START = 120.0  # seconds until the agent has to have looked at everything


class Pacha(Contestant):
    name = "pacha"
    program = "pacha"

    def __init__(self, argv: tuple[str, ...] | None, python: str) -> None:
        self.argv = argv
        self.python = python

    def look_for(self) -> str | None:
        if self.argv is None:
            return "pacha was not found"
        try:
            # Also makes the launcher set up its environment, hence the person's own environment here.
            timing.run([Command((*self.argv, "--version"), CHECKOUT, os.environ)])
        except CommandError as error:
            return str(error)
        return None

    def environment(self, plot: Plot) -> dict[str, str]:
        runtime = plot.root / "run"
        runtime.mkdir(mode=0o700, exist_ok=True)
        return {
            **clean_environment(plot),
            "PACHA_CONFIG": str(plot.root / "config" / "pacha.toml"),
            "PACHA_STATE": str(plot.root / "state"),
            "XDG_RUNTIME_DIR": str(runtime),
        }

    def pacha(self, plot: Plot, *argv: str) -> Command:
        assert self.argv is not None
        return Command((*self.argv, *argv), plot.root, self.environment(plot))

    def prepare(self, plot: Plot) -> None:
        (plot.root / "config").mkdir()

    def first(self, plot: Plot) -> list[Command]:
        return [self.pacha(plot, "watch", str(plot.tree))]

    def unchanged(self, plot: Plot) -> list[Command]:
        return [self.pacha(plot, "capture")]

    def change(self, plot: Plot, name: str, /) -> list[Command]:
        return [self.pacha(plot, "capture", str(plot.tree / name))]

    def restore(self, plot: Plot) -> list[Command]:
        newest = self.asked(plot, "log", "-n", "1")["revisions"][0]["id"]
        return [self.pacha(plot, "rollback", str(plot.tree), "--to", newest, "-y")]

    def store(self, plot: Plot) -> Path:
        return Path(self.asked(plot, "status")["store"])

    def revisions(self, plot: Plot) -> int:
        return len(self.asked(plot, "log", "-n", "1000000")["revisions"])

    def asked(self, plot: Plot, *argv: str) -> dict[str, Any]:
        """The JSON that Pacha answers with. Raise CommandError if it does not."""
        text = timing.output(self.pacha(plot, "--json", *argv))
        try:
            answer = json.loads(text)
        except ValueError as error:
            raise CommandError(f"pacha {argv[0]} --json: no JSON") from error
        assert isinstance(answer, dict)
        return answer

    @contextmanager
    def following(self, plot: Plot) -> Iterator[subprocess.Popen[bytes]]:
        """The agent runs, and has looked at everything. Raise CommandError if it does not."""
        said = plot.scratch / "agent"
        with timing.beside(self.pacha(plot, "agent"), said) as process:
            if not self._agent_runs(plot, process):
                lines = said.read_text(errors="replace").splitlines()
                words = timing.bare(lines[-1]) if lines else "no message"
                raise CommandError(f"pacha agent does not run: {words}")
            yield process

    def tip(self, plot: Plot) -> Path:
        """The file that changes when a revision becomes readable."""
        return self.store(plot) / ".hg" / "store" / "00changelog.i"

    def newest(self, plot: Plot) -> str:
        """The newest revision, as another process reads it."""
        return str(self.asked(plot, "log", "-n", "1")["revisions"][0]["id"])

    def _agent_runs(self, plot: Plot, process: subprocess.Popen[bytes]) -> bool:
        give_up = time.monotonic() + _AGENT_START
        while process.poll() is None and time.monotonic() < give_up:
            agent = self.asked(plot, "status").get("agent") or {}
            if agent.get("running"):
                return True
            time.sleep(0.2)
        return False


def find(named: str | None, python: str | None) -> Pacha:
    """Pacha as named, else the checkout's environment, its launcher, or the package of this interpreter."""
    console, launcher = CHECKOUT / ".venv" / "bin" / "pacha", CHECKOUT / "pacha"
    argv: tuple[str, ...] | None = None
    if named is not None:
        argv = (os.path.abspath(named),)
    elif os.access(console, os.X_OK):
        argv = (str(console),)
    elif launcher.is_file() and os.access(launcher, os.X_OK):
        argv = (str(launcher),)
    elif importlib.util.find_spec("pacha") is not None:
        argv = (sys.executable, "-m", "pacha")
    return Pacha(argv, python or _interpreter(argv))


def _interpreter(argv: tuple[str, ...] | None) -> str:
    """The interpreter that runs Pacha: of its `#!` line, else of the checkout's environment, else this one."""
    if argv is not None:
        with open(argv[0], "rb") as file:
            first = file.readline(200).decode(errors="replace").strip()
        if first.startswith("#!") and "python" in Path(first[2:]).name and " " not in first:
            return first[2:].strip()
    own = CHECKOUT / ".venv" / "bin" / "python"
    return str(own) if os.access(own, os.X_OK) else sys.executable
