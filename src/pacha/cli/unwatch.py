"""`pacha unwatch PATH…`: track paths no longer; what was recorded stays."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pacha.cli.printing import capture_exit, print_skipped, watching_object
from pacha.cli.sent import send_and_tell
from pacha.cli.session import Session
from pacha.ops.watch import unwatch
from pacha.ui.text import shown


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("paths", metavar="PATH", nargs="+", help="a path as pacha status lists it")


def run(session: Session, options: Namespace) -> int:
    """Do it and print the outcome."""
    done = unwatch(session.host, session.resolve(options.paths), session.remove_watch, session.add_watch)
    session.report.finish()
    if not session.as_json:
        for path in () if options.quiet else done.paths:
            print(f"no longer watching {shown(path)}; its history stays")
        print_skipped(done.captured.skipped)
    return send_and_tell(
        session, capture_exit(done.captured), lambda: watching_object(session, done.captured)
    )
