"""`pacha log [PATH…] [-n N] [--since T] [--host H]`: the revisions, newest first; on a server all hosts'."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from pacha.cli.history import add_host_option, as_it_is, clock_time, opened, paths_in, ready
from pacha.cli.session import Session
from pacha.core.errors import NotFound, UsageError
from pacha.core.quantities import parse_when
from pacha.ops.history import Told, log
from pacha.ops.told import revision_object
from pacha.ui.result import print_object
from pacha.ui.text import clip, paint, plural, printable, shown, use_colour

_ON_TERMINAL = 25
_LONGEST_HOST = 16

# (host, revision with its changes).
Line = tuple[str, Told]


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument(
        "paths", metavar="PATH", nargs="*", help="only revisions that changed these, or something below"
    )
    parser.add_argument(
        "-n", metavar="N", type=int, dest="limit", help="at most N (0: all; default: 25 on a terminal)"
    )
    parser.add_argument("--since", metavar="T", help="an ISO time, or an age such as 2h or 3d")
    add_host_option(parser)


def run(session: Session, options: Namespace) -> int:
    """Read and print."""
    if options.limit is not None and options.limit < 0:
        raise UsageError(f"-n {options.limit}: allowed is a whole number from 0")
    default = _ON_TERMINAL if sys.stdout.isatty() and not session.as_json else 0
    limit = default if options.limit is None else options.limit
    since = parse_when(options.since, session.now_ns()) if options.since is not None else None
    across = options.host is None and _is_about_all(session)
    lines = (_of_all if across else _of_one)(session, options, limit + 1 if limit else 0, since)
    cut = bool(limit) and len(lines) > limit
    lines = lines[:limit] if cut else lines
    if options.paths and not lines and since is None:
        raise NotFound(f"{printable(options.paths[0])} was never captured", hint="pacha log lists what was")
    if session.as_json:
        told = [revision_object(t.revision, t.changes, host) for host, t in lines]
        print_object({"revisions": told, "more": cut})
        return 0
    _print(lines, across)
    if cut and options.limit is None:
        sys.stderr.write("pacha: there are older ones: -n 0 shows all\n")
    return 0


def _is_about_all(session: Session) -> bool:
    """On a server, or where nothing but reading from one is set up."""
    config = session.config
    return session.is_server or bool(config.servers and not config.watch and not session.has_history)


def _of_one(session: Session, options: Namespace, limit: int, since: int | None) -> list[Line]:
    past = opened(session, options.host)
    paths = paths_in(session, options.host, options.paths)
    return [(past.name, told) for told in log(past, paths, limit=limit, since_ns=since)]


def _of_all(session: Session, options: Namespace, limit: int, since: int | None) -> list[Line]:
    """Everything that this server keeps, or the servers of this reader, and this machine's own history."""
    from pacha.ops.across import log_across, merged

    here = session.look_up(options.paths)
    own: list[Line] = []
    if session.has_history:
        host = ready(session.host)
        own = [(host.name, told) for told in log(host, here, limit=limit, since_ns=since)]
    # What lies behind a link of this machine's says nothing of the others' paths.
    pairs = zip(options.paths, here, strict=True)
    paths = [as_it_is(text) if text.startswith("/") else path for text, path in pairs]
    own_name = session.host.name if session.has_history else ""
    names = [name for name in session.others.names() if name != own_name]
    kept = log_across(names, session.others.past, paths, limit=limit, since_ns=since)
    return merged([own, kept], limit)


def _print(lines: Sequence[Line], across: bool) -> None:
    colour = use_colour()
    terminal = os.get_terminal_size().columns if sys.stdout.isatty() else 0
    widest = min(max((len(host) for host, _ in lines), default=0), _LONGEST_HOST) if across else 0
    for host, told in lines:
        revision = told.revision
        name = f"{clip(host, _LONGEST_HOST).ljust(widest)}  " if widest else ""
        author = printable(revision.author)[:12].ljust(12)
        message = printable(revision.message.partition("\n")[0])
        head = f"{revision.id}  {clock_time(revision)}  {name}{author}  "
        text = clip(message + _paths(told, message), terminal and max(terminal - len(head), 20))
        print(paint(revision.id, "yellow", colour) + head[len(revision.id) :] + text)


def _paths(told: Told, message: str) -> str:
    """What changed, for behind the message; empty where that says it."""
    count = len(told.changes)
    words = said = ", ".join(shown(change.path) for change in told.changes)
    if count > 3:
        words, said = plural(count, "change"), f"{count} changes"
    return f"  ({words})" if words and f" {said} " not in f" {message} " else ""
