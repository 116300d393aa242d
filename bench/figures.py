"""What was measured, and what Pacha promised.

Filled by `cases`, read by `report` and `run`. The promises are the budgets of the project's design; each
compares the medians of two series of one run, so they hold on any machine. Must not measure or print.
"""

from dataclasses import dataclass, field
from enum import Enum

from timing import Series

PACHA = "pacha"
BARE = "bare interpreter"
VERSION = "pacha --version"
STATUS = "pacha status"


@dataclass(frozen=True)
class Task:
    """One thing to do; tasks of the same case are measured in turns."""

    case: str
    what: str
    unit: str = "s"


def first_capture(files: int) -> Task:
    return Task("first-capture", f"first capture of {files:,} files")


def one_change(files: int) -> Task:
    return Task("one-change", f"one change among {files:,} files")


NO_CHANGE = Task("no-change", "nothing changed, 2,000 files")
ROLLBACK = Task("rollback", "rollback of 2,000 wrecked files")
GROWTH = Task("growth", "growth of the store by a one-line edit, on the disk", "KB")
CONTENT = Task("growth", "growth of the store by a one-line edit, sizes of the files", "KB")
STATE = Task("growth", "growth of Pacha's whole state, on the disk", "KB")
START_UP = Task("start-up", "start-up")
START_UP_AGENT = Task("start-up", "start-up, agent running")


@dataclass
class Figures:
    """All series of a run, and why others are not there."""

    series: dict[tuple[Task, str], Series] = field(default_factory=dict)
    failures: dict[tuple[Task, str], str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)

    def begin(self, task: Task) -> None:
        """Fix the place of a task among the others."""
        if task not in self.tasks:
            self.tasks.append(task)

    def add(self, task: Task, who: str, value: float) -> None:
        self.begin(task)
        self.series.setdefault((task, who), Series()).values.append(value)

    def fail(self, task: Task, who: str, reason: str) -> None:
        self.begin(task)
        self.failures.setdefault((task, who), reason)
        self.series.pop((task, who), None)

    def failed(self, task: Task, who: str) -> bool:
        return (task, who) in self.failures

    def entries(self) -> list[tuple[Task, str]]:
        """Everything that was tried, task by task in the order in which they were begun, Pacha first."""
        tried = list(dict.fromkeys([*self.series, *self.failures]))
        return sorted(tried, key=lambda entry: (self.tasks.index(entry[0]), entry[1] != PACHA))


class Verdict(Enum):
    MET = "met"
    MISSED = "NOT met"
    UNMEASURED = "not measured"
    NOT_ASKED = "not asked for"


@dataclass(frozen=True)
class Budget:
    """The subject's median may be at most (or, if strict, must be less than) `limit` times the peer's."""

    text: str
    subject: tuple[Task, str]
    peer: tuple[Task, str]
    limit: float
    strict: bool = False

    def ratio(self, figures: Figures) -> float | None:
        subject, peer = figures.series.get(self.subject), figures.series.get(self.peer)
        return subject.median / peer.median if subject and peer and peer.median else None

    def judge(self, figures: Figures) -> Verdict:
        ratio = self.ratio(figures)
        if ratio is None:
            tried = {task for task, _ in figures.entries()}
            asked = {self.subject[0], self.peer[0]} <= tried
            return Verdict.UNMEASURED if asked else Verdict.NOT_ASKED
        good = ratio < self.limit if self.strict else ratio <= self.limit
        return Verdict.MET if good else Verdict.MISSED

    @property
    def bound(self) -> str:
        return f"{'<' if self.strict else '≤'} {self.limit:g}"


_FIRST = first_capture(2_000)


def budgets(figures: Figures) -> list[Budget]:
    """The promises. Without an agent that keeps running, `pacha status` alone stands for it."""
    alone = START_UP in figures.tasks and START_UP_AGENT not in figures.tasks
    start = START_UP if alone else START_UP_AGENT
    return [
        Budget("first capture of 2,000 files : git", (_FIRST, PACHA), (_FIRST, "git"), 4),
        Budget(
            "first capture of 2,000 files : etckeeper on hg",
            (_FIRST, PACHA),
            (_FIRST, "etckeeper on hg"),
            1,
            strict=True,
        ),
        Budget("nothing changed, 2,000 files : restic", (NO_CHANGE, PACHA), (NO_CHANGE, "restic"), 1),
        Budget(
            "one change among 100,000 files : the same among 2,000",
            (one_change(100_000), PACHA),
            (one_change(2_000), PACHA),
            3,
        ),
        Budget(
            "rollback of 2,000 wrecked files : restic restore", (ROLLBACK, PACHA), (ROLLBACK, "restic"), 2
        ),
        Budget(
            "growth of the store by one-line edits : git before gc", (GROWTH, PACHA), (GROWTH, "git"), 0.25
        ),
        Budget("pacha --version : bare interpreter", (START_UP, VERSION), (START_UP, BARE), 4),
        Budget(
            f"{STATUS}, {'no agent' if alone else 'agent running'} : bare interpreter",
            (start, STATUS),
            (start, BARE),
            4,
        ),
    ]
