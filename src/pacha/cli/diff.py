"""`pacha diff [PATH…] [--from R] [--to R] [--exit-code]`: between two revisions, a revision and now, or the
last and now.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pacha.cli.history import (
    add_host_option,
    add_identity_option,
    diff_object,
    meant,
    names_of_kinds,
    opened,
    paths_in,
    print_diffs,
    ready,
    within,
)
from pacha.cli.printing import print_skipped
from pacha.cli.session import Session
from pacha.core.changes import Change
from pacha.core.errors import NotFound
from pacha.core.tracked import Skipped
from pacha.ops.diff import live_difference, render
from pacha.ops.history import changes_between, newest, resolve, was_ever_tracked
from pacha.ops.host import Past
from pacha.ops.told import skipped_objects
from pacha.ui.result import print_object
from pacha.ui.text import shown


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("paths", metavar="PATH", nargs="*", help="only these, and what lies below")
    parser.add_argument("--from", metavar="R", dest="old", help="the older side (default: the last revision)")
    parser.add_argument("--to", metavar="R", dest="new", help="the newer side (default: what is there now)")
    parser.add_argument("--exit-code", action="store_true", help="exit 4 where there are differences")
    add_host_option(parser)
    add_identity_option(parser)


def run(session: Session, options: Namespace) -> int:
    """Compare and print."""
    if options.host is not None:
        return _of_another(session, options)
    host = ready(session.host)
    paths = session.look_up(options.paths)
    for path in paths:
        if host.rules.watch_of(path) is None and not was_ever_tracked(host, path):
            raise NotFound(f"{shown(path)} was never captured", hint="pacha status lists the watches")
    last = newest(host)
    old = resolve(host, options.old).position if options.old is not None else (last.position if last else -1)
    unread: list[Skipped] = []
    if options.new is not None:
        new = resolve(host, options.new).position
        changes = changes_between(host, old, new, paths)
    else:
        new = None
        found, unread = live_difference(host, old, paths)
        changes = [change for change in found if within(change.path, paths)]
    return _print(session, options, host, changes, (old, new), unread)


def _of_another(session: Session, options: Namespace) -> int:
    """Of a history that a server keeps: what the last revision changed, where no R says else."""
    past = opened(session, options.host)
    paths = paths_in(session, options.host, options.paths)
    for path in paths:
        if not was_ever_tracked(past, path):
            raise NotFound(f"{shown(path)} was never captured", hint=f"pacha log --host {options.host}")
    new = meant(past, options.new).position
    old = resolve(past, options.old).position if options.old is not None else new - 1
    changes = changes_between(past, old, new, paths)
    return _print(session, options, past, changes, (old, new), [])


def _print(
    session: Session,
    options: Namespace,
    host: Past,
    changes: list[Change],
    between: tuple[int, int | None],
    unread: list[Skipped],
) -> int:
    diffs = render(host, changes, *between, names_of_kinds(session.as_json))
    session.report.finish()
    if session.as_json:
        differences = [diff_object(diff) for diff in diffs]
        print_object({"differences": differences, "skipped": skipped_objects(unread)}, ok=not unread)
    else:
        print_diffs(diffs)
        print_skipped(unread)
    if options.exit_code and changes:
        return 4
    return 3 if unread else 0
