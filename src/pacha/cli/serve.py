"""`pacha serve`: answer one ssh session of one host. A forced command in authorized_keys, not for people."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pacha.cli.session import Session


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the verb's own words."""
    parser.add_argument("--host", metavar="NAME", required=True, help="the host whose key was used")
    parser.add_argument("--key", metavar="SHA256:…", default="", help="that key: refused once it has another")


def run(session: Session, options: Namespace) -> int:
    """Answer until the client leaves."""
    from pacha.server.announce import Announcer
    from pacha.server.serve import serve

    announcer = Announcer(session.program, session.hooks, session.registry)
    return serve(session.registry, options.host, session.config.serve_quota, options.key, announcer.received)
