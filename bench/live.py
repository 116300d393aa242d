"""The cases with something that keeps running: the agent, and beside it a loop of inotifywait and git.

Called by `run`. How long a write takes to be a revision, and what the agent costs while nothing happens.
Must not judge: `figures` does.
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import processes
import timing
import tree
from cases import Bench, attempt, expect, planted
from contestants import Contestant, InotifyGit
from figures import (
    BARE,
    IDLE_FILES,
    MORE_MEMORY,
    PACHA,
    awakening,
    idle_memory,
    idle_resident,
    idle_switches,
    latency,
)
from ground import Plot
from subject import Pacha
from timing import Command, CommandError

APART = 0.3  # seconds between two writes, so that their quiet times do not merge
LONGEST = 20.0  # seconds for one revision
CALM = 35.0  # seconds after the last work, when the agent's worker has ended
WATCHED = 10.0  # seconds in which nothing should run
WARMING = 5  # writes before the agent is left alone

Follower = Pacha | InotifyGit


def run_latency(bench: Bench) -> None:
    for files in bench.scale.latency_files:
        with ExitStack() as stack:
            _latency(bench, files, stack)


def _latency(bench: Bench, files: int, stack: ExitStack) -> None:
    task, writes = latency(files), bench.scale.writes
    followed: list[tuple[Follower, Plot, Path, int]] = []
    for contestant, plot in planted(bench, stack, task, files, [bench.pacha, bench.inotify_git]):
        assert isinstance(contestant, Pacha | InotifyGit)
        try:
            stack.enter_context(contestant.following(plot))
            followed.append((contestant, plot, contestant.tip(plot), contestant.revisions(plot)))
        except CommandError as error:
            bench.figures.fail(task, contestant.name, str(error))
    for turn, name in enumerate(tree.picks(files, writes)):
        for contestant, plot, tip, _ in followed:
            attempt(bench, task, contestant, turn, partial(_written, contestant, plot, tip, name, turn))
    for contestant, plot, _, before in followed:
        if not bench.figures.failed(task, contestant.name):
            made = contestant.revisions(plot) - before
            if made != writes:
                bench.figures.fail(task, contestant.name, f"{made} revisions for {writes} writes")


def _written(
    follower: Follower, plot: Plot, tip: Path, name: str, turn: int, _contestant: Contestant | None = None
) -> float:
    """Write a file; the milliseconds until the revision is there. Returns when the next write may come."""
    path = plot.tree / name
    content = tree.edited(path, turn)
    newest, before = follower.newest(plot), _state(tip)
    os.sync()
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(descriptor, content)
        begin = time.perf_counter()
    finally:
        os.close(descriptor)
    while _state(tip) == before:
        expect(time.perf_counter() < begin + LONGEST, f"no revision {LONGEST:.0f} s after a write")
        time.sleep(0.001)
    seconds = time.perf_counter() - begin
    expect(follower.newest(plot) != newest, "the revision of a write cannot be read")
    time.sleep(max(0.0, begin + APART - time.perf_counter()))
    return seconds * 1000


def _state(tip: Path) -> tuple[int, int, int]:
    """What differs once the file was written or replaced."""
    status = tip.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def run_idle(bench: Bench) -> None:
    pacha, figures = bench.pacha, bench.figures
    for turn in range(bench.scale.idle_rounds):
        _bare(bench)
        found: dict[int, float] = {}
        for files in IDLE_FILES:
            task = idle_memory(files)
            if bench.present(task, [pacha]):
                attempt(bench, task, pacha, turn, partial(_idle, bench, files, found))
            if figures.failed(task, PACHA):
                for other in (MORE_MEMORY, idle_switches(files)):
                    figures.fail(other, PACHA, figures.failures[task, PACHA])
        if len(found) == len(IDLE_FILES):
            few, many = IDLE_FILES
            figures.add(MORE_MEMORY, PACHA, (found[many] - found[few]) / (many - few) * 10_000)


def _bare(bench: Bench) -> None:
    """What an interpreter that sleeps takes."""
    with bench.ground.plot(0) as plot:
        words = (bench.pacha.python, "-I", "-c", "import time; time.sleep(60)")
        command = Command(words, plot.root, bench.pacha.environment(plot))
        with timing.beside(command, plot.scratch / "bare") as process:
            time.sleep(2)
            used = processes.memory(process.pid)
    for files in IDLE_FILES:
        bench.figures.add(idle_memory(files), BARE, used.proportional)
        bench.figures.add(idle_resident(files), BARE, used.resident)


def _idle(bench: Bench, files: int, found: dict[int, float], _contestant: Contestant) -> float:
    """Megabytes of the agent that has nothing to do any more; the rest goes to the figures as well."""
    pacha, figures = bench.pacha, bench.figures
    with bench.ground.plot(files) as plot:
        tree.grow(plot.tree, files)
        pacha.prepare(plot)
        timing.run(pacha.first(plot))
        with pacha.following(plot) as process:
            tip = pacha.tip(plot)
            for turn, name in enumerate(tree.picks(files, WARMING)):
                _written(pacha, plot, tip, name, turn)
            time.sleep(CALM)
            expect(process.poll() is None, "the agent has ended")
            used, before = processes.memory(process.pid), processes.switches(process.pid)
            time.sleep(WATCHED)
            switched = processes.switches(process.pid) - before
            woken = _written(pacha, plot, tip, tree.names(files)[0], WARMING)
    figures.add(idle_resident(files), PACHA, used.resident)
    figures.add(idle_switches(files), PACHA, switched)
    figures.add(awakening(files), PACHA, woken)
    found[files] = used.resident
    return used.proportional


CASES: dict[str, Callable[[Bench], None]] = {"latency": run_latency, "idle": run_idle}
