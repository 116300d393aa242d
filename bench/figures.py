"""What was measured, and what Pacha promised.

Filled by `cases` and `live`, read by `report` and `run`. The promises are the budgets of the project's
design. Most compare the medians of two series of one run, so they hold on any machine; those of the agent are
in milliseconds and megabytes, as the design has them. Must not measure or print.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum

from timing import Series

PACHA = "pacha"
BARE = "bare interpreter"
VERSION = "pacha --version"
STATUS = "pacha status"
QUIET = 50  # ms of silence that the agent waits for, by default
LATENCY_FILES = (2_000, 100_000)
IDLE_FILES = (2_000, 12_000)


@dataclass(frozen=True)
class Task:
    """One thing to do; tasks of the same case are measured in turns."""

    case: str
    what: str
    unit: str = "s"

    def shown(self, value: float) -> str:
        """A value with its unit, as exact as it is worth."""
        digits = {"s": 3, "MB": 2, "": 0}.get(self.unit, 1)
        return f"{value:.{digits}f} {self.unit}".rstrip()


def first_capture(files: int) -> Task:
    return Task("first-capture", f"first capture of {files:,} files")


def one_change(files: int) -> Task:
    return Task("one-change", f"one change among {files:,} files")


def latency(files: int) -> Task:
    return Task("latency", f"a write to its revision, {files:,} files", "ms")


def sending(files: int) -> Task:
    return Task("send", f"a write to its revision on the server, {files:,} files", "ms")


def rebuilding(files: int) -> Task:
    return Task("rebuild", f"{files:,} files of a lost host, from a server")


def idle_memory(files: int) -> Task:
    return Task("idle", f"memory of the idle agent, {files:,} files (PSS)", "MB")


def idle_resident(files: int) -> Task:
    return Task("idle", f"the same with all that it shares with others, {files:,} files (RSS)", "MB")


def idle_switches(files: int) -> Task:
    return Task("idle", f"context switches of the idle agent in 10 s, {files:,} files", "")


def awakening(files: int) -> Task:
    return Task("idle", f"a write to its revision after 45 idle seconds, {files:,} files", "ms")


HOSTS = 40
_PUSHED = f"push of one file and one script to {HOSTS} hosts"
PUSH_FIRST = Task("push", f"{_PUSHED}, first time")
PUSH_CHANGED = Task("push", f"{_PUSHED}, again, another file")
PUSH_AGAIN = Task("push", f"{_PUSHED}, again, nothing to do")


def controller(what: str, task: Task, unit: str) -> Task:
    """What the pushing side alone needed for a task."""
    return Task("push", f"{what} of the pushing side: {task.what.removeprefix(_PUSHED).lstrip(', ')}", unit)


# What is shared is counted in full: how many others share it changes from one minute to the next.
MORE_MEMORY = Task("idle", "memory of the idle agent for 10,000 more files (RSS)", "MB")
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


class Promise(ABC):
    """One budget: a figure that may be at most (or, if strict, must be less than) `limit`."""

    text: str
    limit: float
    strict = False

    @property
    @abstractmethod
    def needs(self) -> tuple[tuple[Task, str], ...]:
        """The series that it is judged by."""

    @abstractmethod
    def value(self, figures: Figures) -> float | None:
        """The figure; None where it was not measured."""

    @abstractmethod
    def words(self, value: float) -> str:
        """A figure with its unit."""

    def judge(self, figures: Figures) -> Verdict:
        value = self.value(figures)
        if value is None:
            tried = {task for task, _ in figures.entries()}
            asked = {task for task, _ in self.needs} <= tried
            return Verdict.UNMEASURED if asked else Verdict.NOT_ASKED
        good = value < self.limit if self.strict else value <= self.limit
        return Verdict.MET if good else Verdict.MISSED

    @property
    def bound(self) -> str:
        return f"{'<' if self.strict else '≤'} {self.limit:g}"

    def aside(self, _figures: Figures) -> str:
        """What is worth knowing beside the verdict."""
        return ""


@dataclass(frozen=True)
class Budget(Promise):
    """The subject's median compared with `limit` times the peer's."""

    text: str
    subject: tuple[Task, str]
    peer: tuple[Task, str]
    limit: float
    strict: bool = False

    @property
    def needs(self) -> tuple[tuple[Task, str], ...]:
        return self.subject, self.peer

    def value(self, figures: Figures) -> float | None:
        subject, peer = figures.series.get(self.subject), figures.series.get(self.peer)
        return subject.median / peer.median if subject and peer and peer.median else None

    def words(self, value: float) -> str:
        return f"{value:.2f}"


@dataclass(frozen=True)
class Limit(Promise):
    """The subject's median, or 95th percentile, in the unit of its task; another's is named beside it."""

    text: str
    subject: tuple[Task, str]
    limit: float
    beside: str = ""
    p95: bool = False

    @property
    def needs(self) -> tuple[tuple[Task, str], ...]:
        return (self.subject,)

    def value(self, figures: Figures) -> float | None:
        return self._of(figures.series.get(self.subject))

    def words(self, value: float) -> str:
        return self.subject[0].shown(value)

    @property
    def bound(self) -> str:
        return f"≤ {self.limit:g} {self.subject[0].unit}".rstrip()

    def aside(self, figures: Figures) -> str:
        value = self._of(figures.series.get((self.subject[0], self.beside)))
        return "" if value is None else f"{self.beside}: {self.words(value)}"

    def _of(self, series: Series | None) -> float | None:
        if series is None:
            return None
        return series.p95 if self.p95 else series.median


_FIRST = first_capture(2_000)


def budgets() -> list[Promise]:
    """The promises."""
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
            f"{STATUS}, agent running : bare interpreter",
            (START_UP_AGENT, STATUS),
            (START_UP_AGENT, BARE),
            4,
        ),
        *_push_budgets(),
        *(limit for files in LATENCY_FILES for limit in _latency_limits(files)),
        Limit(
            "a write to its revision on the server, median",
            (sending(2_000), PACHA),
            QUIET + 250,
            "inotifywait + git push",
        ),
        Budget(
            "2,000 files of a lost host : hg clone + rsync",
            (rebuilding(2_000), PACHA),
            (rebuilding(2_000), "hg clone + rsync"),
            3,
        ),
        Budget(
            "2,000 files of a lost host : restic restore over sftp",
            (rebuilding(2_000), PACHA),
            (rebuilding(2_000), "restic restore over sftp"),
            2,
        ),
        Budget(
            "20,000 files of a lost host : 2,000", (rebuilding(20_000), PACHA), (rebuilding(2_000), PACHA), 10
        ),
        Limit("idle agent, memory, 2,000 files", (idle_memory(2_000), PACHA), 20, BARE),
        Limit("idle agent, memory for 10,000 more files", (MORE_MEMORY, PACHA), 1),
        *(
            Limit(f"idle agent, context switches in 10 s, {files:,} files", (idle_switches(files), PACHA), 0)
            for files in IDLE_FILES
        ),
    ]


def _push_budgets() -> list[Promise]:
    loop, pyinfra, ansible = "ssh loop", "pyinfra", "ansible-core, pipelining, forks 20"
    wanted = [(PUSH_FIRST, loop, 1.5), (PUSH_FIRST, ansible, 0.25)]
    for task in (PUSH_CHANGED, PUSH_AGAIN):
        wanted += [(task, pyinfra, 0.5), (task, ansible, 0.083)]
    return [
        Budget(f"{task.what} : {peer}", (task, PACHA), (task, peer), limit) for task, peer, limit in wanted
    ]


def _latency_limits(files: int) -> list[Limit]:
    subject, loop = (latency(files), PACHA), "inotifywait + git"
    what = f"a write to its revision, {files:,} files"
    return [
        Limit(f"{what}, median", subject, QUIET + 150, loop),
        Limit(f"{what}, 95th percentile", subject, QUIET + 400, loop, p95=True),
    ]
