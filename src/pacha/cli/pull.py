"""`pacha pull DEPLOYMENT [-n] [-y]`: fetch a deployment from this host's server, and make it live here."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Any, TextIO

from pacha.cli.asking import ask, before_asking, will_ask
from pacha.cli.pulled import Pull
from pacha.cli.pushed import print_outcomes
from pacha.cli.sent import send_and_tell
from pacha.cli.session import Session
from pacha.core.answer import CHANGED, Outcome
from pacha.core.config_values import is_host_name
from pacha.core.errors import Refused, UsageError
from pacha.core.shown import printable
from pacha.ui.result import print_object
from pacha.ui.text import terminal_width


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("deployment", metavar="DEPLOYMENT", help="its name on the server")
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="show what would change, and touch nothing"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument("--diff", action="store_true", help="show the differences in files also with -y")
    parser.add_argument(
        "--force",
        action="store_true",
        help="overwrite also what was changed by hand, or is delivered by another deployment",
    )


def run(session: Session, options: Namespace) -> int:
    """Fetch, look, ask, do, and tell."""
    asks = will_ask(options, "what would change")
    name = options.deployment
    if not is_host_name(name):
        hint = "its name on the server; what is a directory here, pacha push delivers"
        raise UsageError(f"{name!r} is no name of a deployment", hint=hint)
    pull = Pull(session, name, session.host.author, session.report.note)
    call = _Call(session, options, pull)
    if options.dry_run:
        return call.finish(pull.do(dry_run=True, force=options.force, diff=True))
    if asks:
        looked = pull.do(dry_run=True, force=options.force, diff=True)
        if looked.state != CHANGED:
            return call.finish(looked)
        call.show(looked, dry_run=True, to=before_asking(session.as_json))
        # What it will refuse it is not asked for.
        may_be_done = options.force or not looked.listed("edited")
        if may_be_done and not ask():
            raise Refused("not done: nothing was changed")
    return call.finish(pull.do(force=options.force, diff=options.diff))


class _Call:
    """One call of the verb, and how it ends."""

    def __init__(self, session: Session, options: Namespace, pull: Pull) -> None:
        self._session = session
        self._options = options
        self._pull = pull

    def show(self, one: Outcome, *, dry_run: bool, to: TextIO) -> None:
        """What was done, or would be."""
        diff = self._options.diff
        print_outcomes([one], dry_run=dry_run, diff=diff, width=terminal_width(to), to=to)
        to.flush()

    def finish(self, one: Outcome) -> int:
        """Tell it, send what was recorded, and return the exit code."""
        error, session = self._pull.error, self._session
        dry_run = bool(one.answer["dry_run"]) and self._options.dry_run
        revision = one.answer["revision"]
        if not session.as_json and (error is not None or dry_run or not self._options.quiet):
            self.show(one, dry_run=dry_run, to=sys.stdout if error is None else sys.stderr)
            if revision is not None:
                words = f"recorded as {revision}, from {self._pull.server}, in {one.seconds:.1f} s"
                print(f"  {printable(words)}")
        code = 0 if error is None else error.exit_code
        if revision is not None:
            return send_and_tell(session, code, lambda: _object(one, dry_run=False))
        if session.as_json:
            print_object({**_object(one, dry_run=dry_run), "servers": []}, ok=code == 0)
        return code


def _object(one: Outcome, *, dry_run: bool) -> dict[str, Any]:
    """The contract's fields."""
    values = {key: value for key, value in one.answer.items() if key != "ok"}
    return {**values, "seconds": round(one.seconds, 3), "dry_run": dry_run}
