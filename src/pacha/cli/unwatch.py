"""`pacha unwatch PATH…`: track paths no longer; what was recorded stays."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pacha.cli.printing import capture_exit, captured_object, print_skipped
from pacha.cli.sent import print_unsent, send, sent_exit
from pacha.cli.session import Session
from pacha.ops.told import path_object
from pacha.ops.watch import unwatch
from pacha.ui.result import print_object
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
    servers = send(session)
    code = capture_exit(done.captured) or sent_exit(servers)
    if session.as_json:
        watches = [path_object(path) for path in session.host.config.watch]
        values = {**captured_object(done.captured), "watches": watches, "servers": servers}
        print_object(values, ok=code == 0)
    else:
        print_unsent(servers)
    return code
