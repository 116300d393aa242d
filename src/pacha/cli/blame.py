"""`pacha blame PATH [--at R]`: each line of a file, with the revision, time and person that it is from."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from pacha.cli.history import add_host_option, add_identity_option, clock_time, meant, opened, paths_in
from pacha.cli.session import Session
from pacha.core.quantities import format_when
from pacha.core.revision import Revision
from pacha.ops.blame import Line, blame
from pacha.ops.told import path_object
from pacha.ui.result import print_object
from pacha.ui.text import content_line, paint, printable, use_colour, wrap

_LONGEST_NAME, _NARROWEST_TEXT = 12, 20


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("path", metavar="PATH")
    parser.add_argument("--at", metavar="R", help="a revision or time (default: the last revision)")
    add_host_option(parser)
    add_identity_option(parser)


def run(session: Session, options: Namespace) -> int:
    """Read and print."""
    host = opened(session, options.host)
    (path,) = paths_in(session, options.host, [options.path])
    revision = meant(host, options.at)
    lines = blame(host, revision.position, path)
    if session.as_json:
        told = [_object(line) for line in lines]
        print_object({"revision": revision.id, **path_object(path), "lines": told})
    else:
        _print(lines)
    return 0


def _print(lines: Sequence[Line]) -> None:
    """On a terminal long lines go on below themselves, right of the columns."""
    colour = use_colour()
    columns = os.get_terminal_size().columns if sys.stdout.isatty() else 0
    names = {line.revision.id: _author(line.revision)[:_LONGEST_NAME] for line in lines}
    longest = max(map(len, names.values()), default=0)
    for line in lines:
        one = line.revision.id
        head = f"  {clock_time(line.revision)}  {names[one].ljust(longest)}  "
        room = columns and max(columns - len(one) - len(head), _NARROWEST_TEXT)
        first, *more = wrap(content_line(line.text), room)
        print(paint(one, "yellow", colour) + (head + first if first else head.rstrip()))
        for part in more:
            print(" " * (len(one) + len(head)) + part)


def _author(revision: Revision) -> str:
    return printable(revision.author).strip() or "unknown"


def _object(line: Line) -> dict[str, object]:
    revision = line.revision
    told = {
        "id": revision.id,
        "time": format_when(revision.stamp.time_ns),
        "author": revision.author.strip() or "unknown",
    }
    try:
        return {**told, "text": line.text.decode("utf-8")}
    except UnicodeDecodeError:
        import base64

        return {**told, "text_b64": base64.b64encode(line.text).decode()}
