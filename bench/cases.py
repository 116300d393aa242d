"""The cases: what is done, by whom, how often, and how it is checked that it was really done.

Called by `run`. Contestants take turns within each round (A B A B). A contestant that fails, or that did
not do its work, leaves the case with its reason; the others go on. Must not judge: `figures` does.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import timing
import tree
from contestants import Contestant, Etckeeper, Git, InotifyGit, Mercurial, Restic
from figures import (
    BARE,
    CONTENT,
    GROWTH,
    NO_CHANGE,
    PACHA,
    ROLLBACK,
    START_UP,
    START_UP_AGENT,
    STATE,
    STATUS,
    VERSION,
    Figures,
    Task,
    first_capture,
    one_change,
)
from ground import Ground, Plot
from subject import Pacha
from timing import Command, CommandError

SMALL = 2_000


class Rival(Protocol):
    """Whatever takes part in a case."""

    @property
    def name(self) -> str: ...
    @property
    def missing(self) -> str | None: ...


R = TypeVar("R", bound=Rival)


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    name: str
    first_rounds: dict[int, int]  # files → rounds
    one_change_files: tuple[int, ...]
    rounds: int
    one_change_rounds: int
    rollback_rounds: int
    start_up_rounds: int
    edits: int
    latency_files: tuple[int, ...]
    writes: int
    idle_rounds: int
    push_rounds: int


FULL = Scale(
    "full", {2_000: 7, 20_000: 3}, (2_000, 20_000, 100_000), 11, 21, 5, 41, 200, (2_000, 100_000), 50, 3, 5
)
QUICK = Scale("quick", {2_000: 3}, (2_000,), 5, 9, 3, 21, 200, (2_000,), 50, 1, 2)


@dataclass
class Bench:
    """What a case needs: the ground, who takes part, how much, and where the figures go."""

    ground: Ground
    scale: Scale
    pacha: Pacha
    figures: Figures
    say: Callable[[str], None]
    git: Git
    mercurial: Mercurial
    etckeeper_git: Etckeeper
    etckeeper_hg: Etckeeper
    restic: Restic
    inotify_git: InotifyGit

    def present(self, task: Task, wanted: Iterable[R]) -> list[R]:
        """Those whose tool is there; the others are noted."""
        self.figures.begin(task)
        here = []
        for contestant in wanted:
            reason = contestant.missing
            if reason is None:
                here.append(contestant)
            else:
                self.figures.fail(task, contestant.name, reason)
        return here


class UndoneError(Exception):
    """A contestant said that it had done its work, and had not."""


def run_first_capture(bench: Bench) -> None:
    for files, rounds in bench.scale.first_rounds.items():
        task = first_capture(files)
        wanted = [bench.pacha, bench.git, bench.etckeeper_git, bench.etckeeper_hg, bench.restic]
        here = bench.present(task, wanted)
        for turn in range(rounds):
            for contestant in here:
                attempt(bench, task, contestant, turn, partial(_first, bench, files))


def _first(bench: Bench, files: int, contestant: Contestant) -> float:
    with bench.ground.plot(files) as plot:
        tree.grow(plot.tree, files)
        contestant.prepare(plot)
        seconds = timing.timed(contestant.first(plot))
        expect(contestant.revisions(plot) >= 1, "no revision after the first capture")
        return seconds


def run_no_change(bench: Bench) -> None:
    task = NO_CHANGE
    with ExitStack() as stack:
        places = planted(bench, stack, task, SMALL, [bench.pacha, bench.git, bench.restic])
        before = {c.name: c.revisions(plot) for c, plot in places}
        for turn in range(bench.scale.rounds):
            for contestant, plot in places:
                attempt(bench, task, contestant, turn, partial(_unchanged, plot))
        for contestant, plot in places:
            # restic makes a snapshot whether or not anything changed.
            new = contestant.revisions(plot) - before[contestant.name]
            if new and contestant is not bench.restic:
                bench.figures.fail(task, contestant.name, f"{new} revisions although nothing changed")


def _unchanged(plot: Plot, contestant: Contestant) -> float:
    return timing.timed(contestant.unchanged(plot))


def run_one_change(bench: Bench) -> None:
    with ExitStack() as stack:
        fields: list[tuple[Task, int, Contestant, Plot, int]] = []
        for files in bench.scale.one_change_files:
            wanted: list[Contestant] = [bench.pacha, bench.git]
            if files <= 20_000:  # beyond, etckeeper needs minutes to begin and tells nothing new
                wanted += [bench.etckeeper_git, bench.restic]
            if files <= SMALL:
                wanted.append(bench.etckeeper_hg)
            task = one_change(files)
            for contestant, plot in planted(bench, stack, task, files, wanted):
                fields.append((task, files, contestant, plot, contestant.revisions(plot)))
        rounds = bench.scale.one_change_rounds
        for turn in range(rounds):
            for task, files, contestant, plot, _ in fields:
                name = tree.picks(files, rounds)[turn]
                attempt(bench, task, contestant, turn, partial(_change, plot, name, turn))
        for task, _, contestant, plot, before in fields:
            if not bench.figures.failed(task, contestant.name):
                made = contestant.revisions(plot) - before
                if made != rounds:
                    bench.figures.fail(task, contestant.name, f"{made} revisions for {rounds} changes")


def _change(plot: Plot, name: str, turn: int, contestant: Contestant) -> float:
    tree.edit(plot.tree / name, turn)
    return timing.timed(contestant.change(plot, name))


def run_rollback(bench: Bench) -> None:
    here = bench.present(ROLLBACK, [bench.pacha, bench.restic])
    for turn in range(bench.scale.rollback_rounds):
        for contestant in here:
            attempt(bench, ROLLBACK, contestant, turn, partial(_rollback, bench))


def _rollback(bench: Bench, contestant: Contestant) -> float:
    with bench.ground.plot(SMALL) as plot:
        files = tree.names(SMALL)
        tree.grow(plot.tree, SMALL)
        contestant.prepare(plot)
        timing.run(contestant.first(plot))
        before = tree.fingerprint(plot.tree, files)
        tree.wreck(plot.tree, files)
        expect(tree.fingerprint(plot.tree, files) != before, "the tree was not wrecked")
        seconds = timing.timed(contestant.restore(plot))
        expect(tree.fingerprint(plot.tree, files) == before, "the tree is not what it was")
        return seconds


def run_growth(bench: Bench) -> None:
    edits = bench.scale.edits
    wanted: list[Contestant] = [bench.pacha, bench.git]
    if bench.scale is FULL:
        wanted += [bench.mercurial, bench.etckeeper_hg, bench.restic]
    for contestant in bench.present(GROWTH, wanted):
        attempt(bench, GROWTH, contestant, 0, partial(_growth, bench, edits))


def _growth(bench: Bench, edits: int, contestant: Contestant) -> float:
    """Kilobytes on the disk for each edit."""
    with bench.ground.plot(SMALL) as plot:
        tree.grow(plot.tree, SMALL)
        contestant.prepare(plot)
        timing.run(contestant.first(plot))
        # One edit before the count: Mercurial then drops the undo file of the first capture and fills a cache.
        settling, *names = tree.picks(SMALL, 1 + edits)
        _change(plot, settling, edits, contestant)
        store, revisions = contestant.store(plot), contestant.revisions(plot)
        state = plot.root / "state"  # only Pacha has one
        begin, begin_state = tree.space(store), tree.space(state)
        for turn, name in enumerate(names):
            _change(plot, name, turn, contestant)
        made = contestant.revisions(plot) - revisions
        expect(made == edits, f"{made} revisions for {edits} edits")
        end, end_state = tree.space(store), tree.space(state)
        bench.figures.add(CONTENT, contestant.name, (end.content - begin.content) / edits / 1000)
        if contestant is bench.pacha:
            bench.figures.add(STATE, PACHA, (end_state.disk - begin_state.disk) / edits / 1000)
        return (end.disk - begin.disk) / edits / 1000


def run_start_up(bench: Bench) -> None:
    pacha, figures = bench.pacha, bench.figures
    with bench.ground.plot(SMALL) as plot:
        commands = {BARE: Command((pacha.python, "-I", "-c", "pass"), plot.root, pacha.environment(plot))}
        if pacha.missing is not None:
            for task, who in ((START_UP, VERSION), (START_UP, STATUS), (START_UP_AGENT, STATUS)):
                figures.fail(task, who, pacha.missing)
            _turns(bench, START_UP, commands)
            return
        commands[VERSION] = pacha.pacha(plot, "--version")
        tree.grow(plot.tree, SMALL)
        pacha.prepare(plot)
        try:
            timing.run(pacha.first(plot))
        except CommandError as error:
            for task in (START_UP, START_UP_AGENT):
                figures.fail(task, STATUS, str(error))
            _turns(bench, START_UP, commands)
            return
        commands[STATUS] = pacha.pacha(plot, "status")
        _turns(bench, START_UP, commands)
        del commands[VERSION]
        try:
            with pacha.following(plot):
                _turns(bench, START_UP_AGENT, commands)
        except CommandError as error:
            figures.fail(START_UP_AGENT, STATUS, str(error))


def _turns(bench: Bench, task: Task, commands: dict[str, Command]) -> None:
    """Time the commands in turns."""
    bench.say(f"{task.what}: {', '.join(commands)}")
    for _ in range(bench.scale.start_up_rounds):
        for who, command in commands.items():
            if not bench.figures.failed(task, who):
                try:
                    bench.figures.add(task, who, timing.timed([command]))
                except CommandError as error:
                    bench.figures.fail(task, who, str(error))


def planted(
    bench: Bench, stack: ExitStack, task: Task, files: int, wanted: Sequence[Contestant]
) -> list[tuple[Contestant, Plot]]:
    """A plot for each contestant that is there, with the first capture done."""

    def plant(contestant: Contestant, plot: Plot) -> None:
        tree.grow(plot.tree, files)
        contestant.prepare(plot)
        timing.run(contestant.first(plot))
        expect(contestant.revisions(plot) >= 1, "no revision after the first capture")

    return prepared(bench, stack, task, files, wanted, plant)


def prepared(
    bench: Bench,
    stack: ExitStack,
    task: Task,
    files: int,
    wanted: Iterable[R],
    prepare: Callable[[R, Plot], None],
) -> list[tuple[R, Plot]]:
    """A plot with room for so many files for each that is there, and whose preparations succeed."""
    places = []
    for contestant in bench.present(task, wanted):
        bench.say(f"{task.what}: {contestant.name}: preparing")
        plot = stack.enter_context(bench.ground.plot(files))
        try:
            prepare(contestant, plot)
        except (CommandError, UndoneError) as error:
            bench.figures.fail(task, contestant.name, str(error))
        else:
            places.append((contestant, plot))
    return places


def attempt(bench: Bench, task: Task, contestant: R, turn: int, measure: Callable[[R], float]) -> None:
    """One measurement of one contestant, unless it has left the case."""
    if bench.figures.failed(task, contestant.name):
        return
    try:
        value = measure(contestant)
    except (CommandError, UndoneError) as error:
        bench.figures.fail(task, contestant.name, str(error))
        bench.say(f"{task.what}: {contestant.name}: {error}")
    else:
        bench.figures.add(task, contestant.name, value)
        bench.say(f"{task.what}: round {turn + 1}: {contestant.name}: {value:.3f} {task.unit}")


def expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise UndoneError(otherwise)


CASES: dict[str, Callable[[Bench], None]] = {
    "start-up": run_start_up,
    "first-capture": run_first_capture,
    "no-change": run_no_change,
    "one-change": run_one_change,
    "rollback": run_rollback,
    "growth": run_growth,
}
