"""`pacha serve`: answer one ssh session of one key. A forced command in authorized_keys, not for people."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pacha.cli.session import Session
from pacha.core.errors import UsageError
from pacha.core.protocol import ADMIN, HOST, READER


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the verb's own words."""
    parser.add_argument("--host", metavar="NAME", help="the host whose key was used")
    parser.add_argument(
        "--role", choices=(READER, ADMIN), help="it was not a host's, but that of one who reads"
    )
    parser.add_argument("--name", metavar="NAME", help="with --role: who that is")
    parser.add_argument("--key", metavar="SHA256:…", default="", help="that key: refused once it has another")


def run(session: Session, options: Namespace) -> int:
    """Answer until the client leaves."""
    from pacha.server.announce import Announcer
    from pacha.server.serve import Door, Terms, serve

    if (options.host is None) == (options.role is None) or (options.role is None) != (options.name is None):
        raise UsageError("whose key was it?", hint="--host NAME, or --role ROLE --name NAME")
    door = Door(options.host or options.name, options.role or HOST, options.key)
    announcer = Announcer(session.program, session.hooks, session.registry)
    terms = Terms(session.config.serve_quota, session.config.serve_forget)
    return serve(session.registry, door, terms, announcer.received)
