"""Running commands and timing them.

Called by `contestants`, `subject`, `cases` and `machine`. A command that fails or hangs raises
`CommandError` with its last words. Must not know what the commands do.
"""

import math
import os
import re
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

LONGEST = 900.0  # seconds for one command


@dataclass(frozen=True)
class Command:
    """One command of a contestant: where, with which environment, and which exit codes are fine."""

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(repr=False)
    accept: tuple[int, ...] = (0,)


class CommandError(Exception):
    """A command ended with an exit code that it should not have, or not at all."""


@dataclass
class Series:
    """What one contestant needed for one task, a value a round."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def p95(self) -> float:
        """What 95 of 100 values do not exceed."""
        return sorted(self.values)[math.ceil(0.95 * len(self.values)) - 1]

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)


def timed(commands: Iterable[Command]) -> float:
    """Run the commands one after the other; the seconds that they took together.

    All that is dirty goes to the disk first, so that nobody pays for another's writes.
    """
    os.sync()
    return sum(_run(command)[0] for command in commands)


def run(commands: Iterable[Command]) -> None:
    """Run the commands, untimed."""
    for command in commands:
        _run(command)


def output(command: Command) -> str:
    """What the command prints on stdout."""
    return _run(command)[1]


@contextmanager
def beside(command: Command, said: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command beside what is done meanwhile, with its messages in the file `said`.

    It and all that it has started is ended with the block.
    """
    with said.open("wb") as err:
        try:
            process = subprocess.Popen(
                command.argv,
                cwd=command.cwd,
                env=command.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=err,
                start_new_session=True,
            )
        except OSError as error:
            raise CommandError(f"{_short(command)}: {error.strerror}") from error
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _run(command: Command) -> tuple[float, str]:
    # Files, not pipes: reading along takes part of a core, and a child left behind holds a pipe open.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begin = time.perf_counter()
        try:
            process = subprocess.Popen(
                command.argv,
                cwd=command.cwd,
                env=command.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        except OSError as error:
            raise CommandError(f"{_short(command)}: {error.strerror}") from error
        code = _wait(process, command)
        seconds = time.perf_counter() - begin
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        if code not in command.accept:
            said = [line for line in (texts[1] or texts[0]).splitlines() if line.strip()]
            raise CommandError(f"{_short(command)}: exit {code}: {bare(said[-1]) if said else 'no message'}")
        return seconds, texts[0]


def _wait(process: subprocess.Popen[bytes], command: Command) -> int:
    """The exit code. Whatever ends the waiting early ends the command, with its children, as well.

    `Popen.wait` with a time limit looks only every 50 ms; a pidfd tells at once.
    """
    watched = os.pidfd_open(process.pid)
    try:
        ended = select.poll()
        ended.register(watched, select.POLLIN)
        if not ended.poll(LONGEST * 1000):
            raise CommandError(f"{_short(command)}: not finished after {LONGEST:.0f} s")
        return process.wait()
    finally:
        os.close(watched)
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def bare(text: str) -> str:
    """The text with absolute paths cut to their last part, as it ends up on a page for everybody."""
    return re.sub(r"(?<![\w/])(?:/[^\s/:'\"]+)+/(?=[^\s/])", "…/", text)[:200]


def _short(command: Command) -> str:
    """The program and its verb: messages stay free of the paths of this machine."""
    words = [Path(command.argv[0]).name, *command.argv[1:]]
    return " ".join(word for word in words[:4] if not word.startswith("/"))
