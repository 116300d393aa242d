"""`pacha confirm ID`: keep what an operation with --confirm did."""

from __future__ import annotations

import argparse
import time
from argparse import ArgumentParser, Namespace

from pacha.cli.session import Session
from pacha.ops.confirm import confirm, expire, waiting
from pacha.ops.host import Host
from pacha.ui.result import print_object

_PAUSE = 1.0
# The operation must have journalled its plan by then; later it has died, and there is nothing to undo.
_APPEARS_WITHIN = 3600.0


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments; `--expire` is for the timer that a --confirm operation starts."""
    parser.add_argument("id", metavar="ID", help="as the operation printed it, and pacha status lists it")
    parser.add_argument("--expire", action="store_true", help=argparse.SUPPRESS)


def run(session: Session, options: Namespace) -> int:
    """Settle it and print."""
    if options.expire:
        expire(session.host, options.id, lambda identity: _sleep(session.host, identity))
        return 0
    header = confirm(session.host, options.id)
    if session.as_json:
        print_object({"id": options.id, "verb": header["verb"], "target": header["target"]})
    else:
        print(f"kept: {header['verb']} to {header['target']}")
    return 0


def _sleep(host: Host, identity: str) -> bool:
    """Wait for the deadline of an operation; whether it is still unconfirmed then."""
    started, seen = time.monotonic(), False
    while True:
        mine = [operation for operation in waiting(host) if operation["id"] == identity]
        if not mine and (seen or time.monotonic() - started > _APPEARS_WITHIN):
            return False
        if mine:
            seen = True
            left = (mine[0]["deadline_ns"] - host.now_ns()) / 1e9
            if left <= 0:
                return True
        time.sleep(min(_PAUSE, max(left, 0.01)) if mine else 0.1)
