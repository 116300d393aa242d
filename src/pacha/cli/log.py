"""`pacha log [PATH…] [-n N] [--since T]`: the revisions, newest first."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace

from pacha.cli.history import clock_time, ready
from pacha.cli.session import Session
from pacha.core.errors import NotFound, UsageError
from pacha.core.quantities import parse_when
from pacha.ops.history import Told, log
from pacha.ops.told import revision_object
from pacha.ui.result import print_object
from pacha.ui.text import clip, paint, plural, printable, shown, use_colour

_ON_TERMINAL = 25


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument(
        "paths", metavar="PATH", nargs="*", help="only revisions that changed these, or something below"
    )
    parser.add_argument(
        "-n", metavar="N", type=int, dest="limit", help="at most N (0: all; default: 25 on a terminal)"
    )
    parser.add_argument("--since", metavar="T", help="an ISO time, or an age such as 2h or 3d")


def run(session: Session, options: Namespace) -> int:
    """Read and print."""
    if options.limit is not None and options.limit < 0:
        raise UsageError(f"-n {options.limit}: allowed is a whole number from 0")
    host = ready(session.host)
    paths = session.look_up(options.paths)
    since = parse_when(options.since, host.now_ns()) if options.since is not None else None
    default = _ON_TERMINAL if sys.stdout.isatty() and not session.as_json else 0
    limit = default if options.limit is None else options.limit
    told = list(log(host, paths, limit=limit + 1 if limit else 0, since_ns=since))
    cut = bool(limit) and len(told) > limit
    told = told[:limit] if cut else told
    if paths and not told and since is None:
        raise NotFound(f"{shown(paths[0])} was never captured", hint="pacha status lists the watches")
    if session.as_json:
        print_object(
            {"revisions": [revision_object(t.revision, t.changes, host.name) for t in told], "more": cut}
        )
        return 0
    for item in told:
        _print(item)
    if cut and options.limit is None:
        sys.stderr.write("pacha: there are older ones: -n 0 shows all\n")
    return 0


def _print(told: Told) -> None:
    colour, revision = use_colour(), told.revision
    width = os.get_terminal_size().columns if sys.stdout.isatty() else 0
    author = printable(revision.author)[:12].ljust(12)
    message = printable(revision.message.partition("\n")[0])
    head = f"{revision.id}  {clock_time(revision)}  {author}  "
    text = clip(message + _paths(told, message), width and max(width - len(head), 20))
    print(paint(revision.id, "yellow", colour) + head[len(revision.id) :] + text)


def _paths(told: Told, message: str) -> str:
    """What changed, for behind the message; empty where that says it."""
    count = len(told.changes)
    words = said = ", ".join(shown(change.path) for change in told.changes)
    if count > 3:
        words, said = plural(count, "change"), f"{count} changes"
    return f"  ({words})" if words and f" {said} " not in f" {message} " else ""
