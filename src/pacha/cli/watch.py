"""`pacha watch PATH…`: track paths from now on, and capture them at once."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pacha.cli.printing import capture_exit, print_captured, watching_object
from pacha.cli.sent import send_and_tell
from pacha.cli.session import Session
from pacha.ops.watch import watch
from pacha.ui.text import shown


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", help="a directory, with all below it, or one file"
    )
    parser.add_argument(
        "--author", metavar="NAME", help="whose change it is (default: the person, found out)"
    )


def run(session: Session, options: Namespace) -> int:
    """Do it and print the outcome."""
    done = watch(session.host, session.resolve(options.paths), session.add_watch, session.remove_watch)
    session.report.finish()
    if not session.as_json:
        for path in () if options.quiet else done.paths:
            print(f"watching {shown(path)}")
        for path in () if options.quiet else done.known:
            print(f"{shown(path)} was watched already")
        print_captured(done.captured, verbose=options.verbose, quiet=options.quiet)
    return send_and_tell(
        session, capture_exit(done.captured), lambda: watching_object(session, done.captured)
    )
