"""The tables: for the terminal, and as a page of the documentation.

Called by `run`. Must not measure or judge.
"""

from collections.abc import Sequence
from pathlib import Path
from string import Template

from figures import BARE, PACHA, QUIET, START_UP, Figures, Task, Verdict, budgets

TEMPLATE = Path(__file__).with_name("page.md")
_MANY = 20  # rounds from which on a 95th percentile says something
Table = tuple[Sequence[str], Sequence[Sequence[str]]]


def budget_table(figures: Figures) -> Table:
    """The promises, with what was measured and the verdict."""
    rows = []
    for budget in budgets():
        value = budget.value(figures)
        verdict = budget.judge(figures)
        words, aside = verdict.value, budget.aside(figures)
        if verdict is Verdict.UNMEASURED:
            words += f": {_why(figures, *budget.needs)}"
        if aside:
            words += f" ({aside})"
        rows.append((budget.text, budget.bound, budget.words(value) if value is not None else "–", words))
    return ("budget", "allowed", "measured", "verdict"), rows


def figure_table(figures: Figures) -> Table:
    """Everything that was measured; the last column is Pacha's median divided by this one."""
    rows: list[Sequence[str]] = []
    for task, who in figures.entries():
        series = figures.series.get((task, who))
        if series is None:
            rows.append((task.what, who, "–", "–", "–", "–", "–", figures.failures[task, who]))
            continue
        low, middle, high = (task.shown(value) for value in (series.low, series.median, series.high))
        rounds = len(series.values)
        p95 = task.shown(series.p95) if rounds >= _MANY else ""
        rows.append((task.what, who, middle, low, p95, high, str(rounds), _ratio(figures, task, who)))
    return ("task", "by", "median", "lowest", "p95", "highest", "rounds", "pacha : this"), rows


def as_text(table: Table) -> str:
    """Columns of equal width, for a terminal."""
    head, rows = table
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)
    ]
    return "\n".join(line.rstrip() for line in lines)


def as_markdown(table: Table) -> str:
    head, rows = table
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def page(
    figures: Figures, machine: str, versions: dict[str, str], scale: str, edits: int, writes: int
) -> str:
    """The whole page."""
    quick = "**This was a quick run**: fewer rounds, fewer peers, and no large trees.\n"
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(
        quick=f"\n{quick}" if scale == "quick" else "",
        budgets=as_markdown(budget_table(figures)),
        notes="".join(f"\n{note}\n" for note in figures.notes),
        figures=as_markdown(figure_table(figures)),
        machine=machine,
        tools=", ".join(f"{name} {version}" for name, version in versions.items()),
        edits=str(edits),
        writes=str(writes),
        quiet_ms=str(QUIET),
    )


def _ratio(figures: Figures, task: Task, who: str) -> str:
    """How Pacha compares; at start-up, how this command compares with the bare interpreter."""
    starting = task.case == START_UP.case
    mine, other = ((task, who), (task, BARE)) if starting else ((task, PACHA), (task, who))
    if mine == other or mine not in figures.series or other not in figures.series:
        return ""
    ratio = figures.series[mine].median / figures.series[other].median
    return f"{ratio:.2f}" + (" × bare" if starting else "")


def _why(figures: Figures, *entries: tuple[Task, str]) -> str:
    return next((figures.failures[entry] for entry in entries if entry in figures.failures), "no figure")
