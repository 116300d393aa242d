"""`pacha secrets rekey`: encrypt the present secrets for the recipients that are configured now."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from pacha.cli.printing import capture_exit, captured_object, print_captured
from pacha.cli.sent import send_and_tell
from pacha.cli.session import Session
from pacha.core.errors import UsageError
from pacha.ops.rekey import Rekeyed, rekey
from pacha.ops.told import path_object
from pacha.ui.result import print_object
from pacha.ui.text import plural, printable, shown


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    again = actions.add_parser("rekey", help="encrypt the present secrets for the recipients of now")
    again.add_argument("-n", "--dry-run", action="store_true", help="say which, and change nothing")


def run(session: Session, options: Namespace) -> int:
    """Do it and print the outcome."""
    if not session.config.secrets_paths:
        raise UsageError("no secrets are configured", hint='[secrets] paths = ["/etc/shadow*"] in pacha.toml')
    done = rekey(session.host, dry_run=options.dry_run)
    session.report.finish()
    if not session.as_json and not options.quiet:
        _print(done, options)
    if done.captured is not None:
        return send_and_tell(session, capture_exit(done.captured), lambda: _object(done))
    if session.as_json:
        print_object(_object(done))
    return 0


def _print(done: Rekeyed, options: Namespace) -> None:
    if done.captured is not None and done.captured.revision is not None:
        print_captured(done.captured, verbose=options.verbose, quiet=False)
    recipients = ", ".join(printable(one.shown) for one in done.recipients[1:])
    whom = f"this host and {recipients}" if recipients else "this host alone"
    if not done.paths:
        print(f"nothing to encrypt anew: all secrets are encrypted for {whom}")
        return
    verb = "to be encrypted anew" if done.captured is None else "encrypted anew"
    print(f"{verb} for {whom}: {plural(len(done.paths), 'file')}")
    for path in done.paths if done.captured is None else ():
        print(f"  {shown(path)}")
    former = ", ".join(printable(one.shown) for one in done.former) or "the recipients of before"
    print(f"older revisions stay readable for {former}, here, on the servers and in every copy")
    print("  where such a key may be in wrong hands: change the secrets themselves,")
    print("  and pacha forget PATH --keep-last removes the older contents")


def _object(done: Rekeyed) -> dict[str, Any]:
    captured = captured_object(done.captured) if done.captured is not None else {"revision": None}
    return {
        **captured,
        "rekeyed": [path_object(path) for path in done.paths],
        "recipients": [str(one) for one in done.recipients],
        "former": [str(one) for one in done.former],
        "dry_run": done.captured is None,
    }
