"""`pacha change begin -m TICKET | end`: what is changed between the two is one revision."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pacha.agent.wiring import ask_agent
from pacha.cli.printing import capture_exit, captured_object, print_captured
from pacha.cli.sent import send_and_tell
from pacha.cli.session import Session
from pacha.ops.change import begin, end


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("what", choices=("begin", "end"), help="hold captures back; or capture it all")
    parser.add_argument("-m", "--message", metavar="TICKET", default="", help="what the change is for")


def run(session: Session, options: Namespace) -> int:
    """Do it, and print what was captured."""
    is_begin = options.what == "begin"
    done = (begin if is_begin else end)(session.host, options.message)
    session.report.finish()
    ask_agent(session.state_path, "flush", seconds=1.0)
    if not session.as_json and (done.revision is not None or done.skipped or not is_begin):
        print_captured(done, verbose=options.verbose, quiet=options.quiet)
    if is_begin and not session.as_json and not options.quiet:
        print("the change is open: pacha change end captures it as one revision")
    return send_and_tell(session, capture_exit(done), lambda: {**captured_object(done), "open": is_begin})
