"""`pacha capture [PATH…] [-m MESSAGE] [--author NAME]`: record what changed as one revision."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pacha.cli.printing import capture_exit, captured_object, print_captured
from pacha.cli.sent import send_and_tell
from pacha.cli.session import Session
from pacha.core.errors import NotFound
from pacha.core.names import outermost
from pacha.ops.capture import capture
from pacha.ui.text import shown


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument(
        "paths", metavar="PATH", nargs="*", help="only these, and what lies below (default: all watched)"
    )
    parser.add_argument("-m", "--message", metavar="MESSAGE", default="", help="why it was changed")
    parser.add_argument("--author", metavar="NAME", help="who changed it (default: the person, found out)")


def run(session: Session, options: Namespace) -> int:
    """Do it and print the outcome."""
    paths = session.resolve(options.paths)
    for path in paths:
        if not session.host.rules.covers(path, session.host.tree.is_directory(path)):
            tracked = session.host.rules.watch_of(path) is not None
            problem = "is ignored" if tracked else "is not watched"
            raise NotFound(
                f"{shown(path)} {problem}",
                hint="pacha status lists the watches, pacha config what is ignored",
            )
    scope = outermost(paths) if paths else None
    done = capture(session.host, scope, cause="capture", message=options.message, unpaced=paths)
    session.report.finish()
    if not session.as_json:
        print_captured(done, verbose=options.verbose, quiet=options.quiet)
    return send_and_tell(session, capture_exit(done), lambda: captured_object(done))
