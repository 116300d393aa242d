"""`pacha show REV`: one revision: who, when, why, and what changed."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pacha.cli.history import (
    add_host_option,
    add_identity_option,
    diff_object,
    names_of_kinds,
    opened,
    print_diffs,
    print_head,
)
from pacha.cli.session import Session
from pacha.ops.diff import render
from pacha.ops.history import Told, changes_between, resolve
from pacha.ops.told import revision_object
from pacha.ui.result import print_object
from pacha.ui.text import use_colour


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument(
        "revision", metavar="REV", help="an id, a unique prefix of one, an ISO time, or an age such as 2h"
    )
    add_host_option(parser)
    add_identity_option(parser)


def run(session: Session, options: Namespace) -> int:
    """Read and print."""
    host = opened(session, options.host)
    revision = resolve(host, options.revision)
    changes = changes_between(host, revision.position - 1, revision.position)
    diffs = render(host, changes, revision.position - 1, revision.position, names_of_kinds(session.as_json))
    if session.as_json:
        one = revision_object(revision, changes, host.name)
        print_object({**one, "diffs": [diff_object(diff) for diff in diffs]})
        return 0
    print_head(Told(revision, changes), use_colour())
    print()
    print_diffs(diffs)
    return 0
