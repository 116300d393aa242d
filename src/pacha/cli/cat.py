"""`pacha cat PATH [--at R]`: a file as it was, byte for byte on standard output."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from pacha.cli.history import add_host_option, add_identity_option, meant, opened, paths_in
from pacha.cli.session import Session
from pacha.ops.history import content_at, forgotten
from pacha.ui.result import print_object


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
    data = content_at(host, revision.position, path)
    if data is None:
        raise forgotten(path)
    if session.as_json:
        print_object(_object(revision.id, path, data))
        return 0
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    return 0


def _object(revision: str, path: bytes, data: bytes) -> dict[str, object]:
    from pacha.ops.told import path_object

    values = {"revision": revision, **path_object(path)}
    try:
        return {**values, "content": data.decode("utf-8")}
    except UnicodeDecodeError:
        import base64

        return {**values, "content_b64": base64.b64encode(data).decode()}
