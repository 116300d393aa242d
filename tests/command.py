"""Run Pacha as people do: a command line in a process of its own, with a state of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIME_LIMIT = 120.0
MOST_LINES = 3


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object of `--json`; raise AssertionError with everything said where it is not there."""
        try:
            value = json.loads(self.out)
        except ValueError:
            value = None
        assert isinstance(value, dict), f"no JSON object: {self}"
        return value

    @property
    def revision(self) -> str | None:
        """The revision that this command acknowledged, if it got so far as to say so."""
        try:
            said = json.loads(self.out)
        except ValueError:
            return None
        revision = said.get("revision") if isinstance(said, dict) else None
        return revision if isinstance(revision, str) else None


@dataclass(frozen=True)
class Pacha:
    """One installation: where its state, configuration and home are, and who runs it."""

    state: Path
    config: Path
    home: Path
    interpreter: str = sys.executable
    user: int | None = None

    @classmethod
    def at(cls, place: Path, **more: Any) -> Pacha:
        """An installation below `place`, which is made."""
        made = cls(place / "state", place / "conf" / "pacha.toml", place / "home", **more)
        for folder in (place, made.state, made.config.parent, made.home):
            folder.mkdir(parents=True, exist_ok=True)
            if made.user is not None:
                os.chown(folder, made.user, made.user)
        made.state.chmod(0o700)
        return made

    @property
    def store(self) -> Path:
        """The folder that holds `.hg`."""
        return self.state / "store"

    def argv(self, *args: str | Path) -> list[str]:
        """The words of the command line."""
        binary = os.environ.get("PACHA_BIN")
        first = [binary] if binary else [self.interpreter, "-m", "pacha"]
        return [*first, *map(str, args)]

    def environment(self) -> dict[str, str]:
        """A small environment, so that nothing of the developer's own changes a test."""
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "TMPDIR") if name in os.environ}
        own = {"HOME": self.home, "PACHA_CONFIG": self.config, "PACHA_STATE": self.state}
        return {
            **kept,
            **{name: str(value) for name, value in own.items()},
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
        }

    def start(self, *args: str | Path, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Start a command in a session of its own, so that all of it can be killed at once.

        `before` is a command to run it under, such as strace with its options.
        """
        who: dict[str, Any] = {}
        if self.user is not None:
            who = {"user": self.user, "group": self.user, "extra_groups": []}
        return subprocess.Popen(
            [*before, *self.argv(*args)],
            env=self.environment(),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
            start_new_session=True,
            **who,
        )

    def run(self, *args: str | Path, before: tuple[str, ...] = ()) -> Result:
        """Run a command to its end, whatever that is."""
        return self.finish(self.start(*args, before=before))

    def finish(self, process: subprocess.Popen[str]) -> Result:
        """Wait for a started command; a hang is killed and fails the test."""
        try:
            out, err = process.communicate(timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{process.args!r} hung for {TIME_LIMIT:.0f} s: {out} {err}") from None
        return Result(process.returncode, out, err)

    def ok(self, *args: str | Path) -> dict[str, Any]:
        """Run a command with `--json` that must exit 0; its object."""
        result = self.run(*args, "--json")
        assert result.code == 0, f"pacha {' '.join(map(str, args))}: {result}"
        return result.json


def spoke_plainly(result: Result) -> list[str]:
    """What is wrong with how a failing command told of it; with `--json` the object may tell it alone."""
    faults = []
    message = result.err
    try:
        told = json.loads(result.out)
        not_done = [step["reason"] for step in told.get("steps", ()) if not step["ok"]]
        message = told["error"]["message"] if "error" in told else " ".join(not_done) or message
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    if result.code == 0:
        faults.append("exit code 0")
    if result.code < 0:
        faults.append(f"death by signal {-result.code}")
    if "Traceback" in result.err or "Traceback" in result.out:
        faults.append("a traceback")
    if not message.strip():
        faults.append("no word of what is wrong")
    if len(result.err.strip().splitlines()) > MOST_LINES:
        faults.append("more than a sentence and its hint")
    return [f"{fault}: {result}" for fault in faults]
