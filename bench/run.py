"""Pacha measured against its peers: `python bench/run.py [--quick] [--only CASE] [--check]`.

For people and `make bench`. Prints the tables and writes the page `docs/explanation/performance.md`. Must
not touch anything but that page and a temporary folder.
"""

import argparse
import sys
from pathlib import Path

import cases
import fleet
import live
import machine
import rebuilding
import remote
import report
import subject
from cases import FULL, QUICK, Bench
from contestants import Etckeeper, Git, InotifyGit, Mercurial, Restic
from figures import Figures, Verdict, budgets
from ground import end_cleanly_on_signals, enter_namespace, open_ground

CASES = {**cases.CASES, **live.CASES, **remote.CASES, **rebuilding.CASES, **fleet.CASES}
PAGE = subject.CHECKOUT / "docs" / "explanation" / "performance.md"
DIFFERENT, INTERRUPTED = 4, 130


def main() -> int:
    """Measure, print, write. Returns the exit code."""
    options = _parser().parse_args()
    enter_namespace()
    end_cleanly_on_signals()
    scale = QUICK if options.quick else FULL
    git, mercurial = Git(), Mercurial()
    figures = Figures()
    pacha = subject.find(options.pacha, options.python)
    with open_ground(options.work) as ground:
        bench = Bench(
            ground=ground,
            scale=scale,
            pacha=pacha,
            figures=figures,
            say=_say,
            git=git,
            mercurial=mercurial,
            etckeeper_git=Etckeeper(git),
            etckeeper_hg=Etckeeper(mercurial),
            restic=Restic(),
            inotify_git=InotifyGit(),
        )
        _say(machine.describe(ground))
        for name in options.only or CASES:
            CASES[name](bench)
        page = report.page(
            figures,
            machine.describe(ground),
            machine.versions(pacha),
            scale.name,
            scale.edits,
            scale.writes,
        )
    print(report.as_text(report.figure_table(figures)))
    print()
    print(report.as_text(report.budget_table(figures)))
    out: Path | None = options.out or (None if options.only else PAGE)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page, encoding="utf-8")
        _say(f"written: {out}")
    verdicts = {budget.judge(figures) for budget in budgets()}
    return DIFFERENT if options.check and verdicts & {Verdict.MISSED, Verdict.UNMEASURED} else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/run.py", description="Measure Pacha against its peers.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and no large trees")
    parser.add_argument(
        "--only", action="append", choices=list(CASES), help="this case only (may be repeated)"
    )
    parser.add_argument(
        "--check", action="store_true", help="exit 4 if a budget is missed or could not be measured"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the page to write (default: docs/explanation/performance.md, and none with --only)",
    )
    parser.add_argument(
        "--pacha",
        metavar="PROGRAM",
        help="Pacha (default: .venv/bin/pacha, else ./pacha, else this Python's package)",
    )
    parser.add_argument(
        "--python", metavar="PROGRAM", help="the bare interpreter (default: the one that runs Pacha)"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("/var/tmp"),
        metavar="DIR",
        help="where temporary file systems lie: on a real disk, 6 GB free for a full run (default: /var/tmp)",
    )
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
