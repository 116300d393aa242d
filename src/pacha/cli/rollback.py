"""`pacha rollback PATH… --to R [-n] [-y] [--confirm DURATION]`: bring paths back to an earlier revision."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import TextIO

from pacha.cli.asking import ask, before_asking, time_to_confirm, will_ask, words_on_confirming
from pacha.cli.history import add_identity_option
from pacha.cli.printing import print_not_done, print_some, step_words
from pacha.cli.sent import send_and_tell
from pacha.cli.session import Session
from pacha.core.errors import Refused
from pacha.core.quantities import format_when
from pacha.core.revision import Revision
from pacha.ops.restore import Planned, planned_objects
from pacha.ops.rollback import RolledBack, rollback
from pacha.ops.told import step_objects
from pacha.ui.result import print_object
from pacha.ui.text import plural, printable, shown, use_colour

_SHOWN_AT_MOST = 40


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("paths", metavar="PATH", nargs="+", help="a file, or a directory with all below it")
    parser.add_argument(
        "--to", metavar="R", required=True, help="a revision, an ISO time, or an age such as 2h"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="print the plan and change nothing")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--confirm", metavar="DURATION", help="undo it after this time, unless pacha confirm comes first"
    )
    add_identity_option(parser)


def run(session: Session, options: Namespace) -> int:
    """Plan, ask, do, and print the outcome."""
    asks = will_ask(options, "the plan")
    confirm_ns = time_to_confirm(options.confirm)

    def show(target: Revision, planned: Planned) -> None:
        session.report.finish()
        everything = options.verbose or options.dry_run
        if asks and planned.steps:
            _print_plan(target, planned, everything, before_asking(session.as_json))
        elif not session.as_json and not (options.quiet and options.yes):
            _print_plan(target, planned, everything, sys.stdout)

    done = rollback(
        session.host,
        session.look_up(options.paths),
        options.to,
        dry_run=options.dry_run,
        show=show,
        ask=ask if asks else None,
        confirm_ns=confirm_ns,
    )
    session.report.finish()
    if done is None:
        raise Refused("not done: nothing was changed")
    if done.planned.steps and not options.dry_run and not session.as_json:
        _print_outcome(session, done)
    code = _code(done, options.dry_run)
    if not options.dry_run:
        return send_and_tell(session, code, lambda: _object(done, dry_run=False))
    if session.as_json:
        print_object({**_object(done, dry_run=True), "servers": []}, ok=code == 0)
    return code


def _code(done: RolledBack, dry_run: bool) -> int:
    if dry_run:
        return 3 if any(step.refused for step in done.planned.steps) else 0
    incomplete = any(not result.ok for result in done.results) or bool(done.planned.notes)
    return 3 if incomplete else 0


def _object(done: RolledBack, dry_run: bool) -> dict[str, object]:
    return {
        "target": done.target.id,
        "revision": done.revision,
        "steps": planned_objects(done.planned) if dry_run else step_objects(done.results),
        "hooks": [{"name": r.name, "exit": r.exit, "output": r.output} for r in done.hooks],
        "seconds": round(done.seconds, 3),
        "dry_run": dry_run,
        "confirm": done.confirm or None,
    }


def _print_plan(target: Revision, planned: Planned, everything: bool, to: TextIO) -> None:
    colour = use_colour(to)
    when = format_when(target.stamp.time_ns)
    if not planned.steps:
        print(f"nothing to do: all is as it was at {target.id} ({when})", file=to)
        return
    print(f"to {target.id} ({when}): {plural(len(planned.steps), 'step')}", file=to)
    most = 0 if everything else _SHOWN_AT_MOST
    print_some(planned.steps, lambda step: step_words(planned, step, colour), most, to)


def _print_outcome(session: Session, done: RolledBack) -> None:
    worked = sum(result.ok for result in done.results)
    revision = f", recorded as {done.revision}" if done.revision else ""
    if not session.options.quiet:
        print(f"{plural(worked, 'step')} done in {done.seconds:.1f} s{revision}")
    sys.stdout.flush()
    print_not_done(done.results)
    for path, note in done.planned.notes.items():
        sys.stderr.write(f"  note      {shown(path)}  {printable(note)}\n")
    if done.confirm:
        sys.stderr.write(words_on_confirming(session.options.confirm, done.confirm))
