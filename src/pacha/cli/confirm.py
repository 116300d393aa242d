"""`pacha confirm ID`: keep what an operation with --confirm did."""

from __future__ import annotations

import argparse
import os
import time
from argparse import ArgumentParser, Namespace

from pacha.cli.session import Session
from pacha.ops.confirm import confirm, expire, expire_all
from pacha.ui.result import print_object

_ALL = "all"  # no operation has that name


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments; `--expire` is for the timer that a --confirm operation starts, and `--expire
    all` for the unit that runs when the machine starts.
    """
    parser.add_argument("id", metavar="ID", help="as the operation printed it, and pacha status lists it")
    parser.add_argument("--expire", action="store_true", help=argparse.SUPPRESS)


def run(session: Session, options: Namespace) -> int:
    """Settle it and print."""
    session.undoes = bool(options.expire)
    if options.expire and options.id == _ALL:
        expire_all(session.host, session.tell_ready)
        return 0
    if options.expire:
        if not expire(session.host, options.id, time.sleep, time.monotonic, session.is_outdated):
            # A rebuild writes the configuration while its timer starts.
            words = [*session.program, "confirm", "--expire", options.id]
            os.execv(words[0], words)  # noqa: S606 - our own program, no shell wanted
        return 0
    header = confirm(session.host, options.id)
    if session.as_json:
        print_object({"id": options.id, "verb": header["verb"], "target": header["target"]})
    elif not options.quiet:
        print(f"kept: {header['verb']} to {header['target']}")
    return 0
