"""`pacha agent --once`: for cron. Capture whatever changed, and end."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pacha.cli.printing import capture_exit, captured_object, print_captured
from pacha.cli.session import Session
from pacha.ops.capture import capture
from pacha.ui.result import print_object


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("--once", action="store_true", required=True, help="capture what changed, and end")


def run(session: Session, options: Namespace) -> int:
    """Do it; silent where nothing happened, so that cron sends no mail."""
    done = capture(session.host, None, cause="agent")
    session.report.finish()
    if session.as_json:
        print_object(captured_object(done), ok=capture_exit(done) == 0)
    elif done.revision is not None or done.skipped:
        print_captured(done, verbose=options.verbose, quiet=options.quiet)
    return capture_exit(done)
