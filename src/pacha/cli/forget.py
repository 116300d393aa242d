"""`pacha forget PATH`: remove a secret's content from every revision, here and on the servers."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from pacha.cli.asking import ask, before_asking, will_ask
from pacha.cli.sent import send
from pacha.cli.session import Session
from pacha.core.errors import Refused
from pacha.core.names import content_path
from pacha.ops.forget import Forgettable, forget, look_up, nothing_stored
from pacha.ops.told import path_object
from pacha.ui.result import print_object
from pacha.ui.text import plural, printable, shown


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("path", metavar="PATH", help="one file")
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="say what would go and what would be left"
    )
    parser.add_argument(
        "--keep-last", action="store_true", help="but for the content that the last revision has"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def run(session: Session, options: Namespace) -> int:
    """Look, ask, do, and say what is left."""
    asks = will_ask(options, "what would go")
    (path,) = session.look_up([options.path])
    found = look_up(session.host, path, keep_last=options.keep_last)
    if not (found.revisions or session.host.config.servers):  # servers may still have it
        if not options.dry_run:
            forget(session.host, path, found.keep)  # what one that was killed at its end has left behind
        raise nothing_stored(path, found.keep)
    if asks or not session.as_json:
        to = before_asking(session.as_json) if asks else sys.stdout
        versions = plural(found.revisions, "version")
        print(f"{shown(path)}: the content of {versions} to be removed from the history, for ever", file=to)
        for line in left(found):
            print(f"  left: {line}", file=to)
    if asks and not ask():
        raise Refused("not done: nothing was forgotten")
    count, servers = 0, []
    if not options.dry_run:
        count = forget(session.host, path, found.keep)
        servers = _servers(session, path)
    code = 3 if any(not server["forgotten"] for server in servers) else 0
    if session.as_json:
        values = {**path_object(path), "forgotten": count, "versions": found.revisions, "left": left(found)}
        print_object({**values, "servers": servers, "dry_run": options.dry_run}, ok=code == 0)
    elif not options.dry_run:
        print(f"forgotten: {plural(count, 'stored version')}")
        _print(servers)
    return code


def _servers(session: Session, path: bytes) -> list[dict[str, Any]]:
    """What became of it on each server: `{address, forgotten, refused, error}`."""
    told = send(session)
    asked = [one.servers for one in session.host.forgets.all() if one.path == content_path(path)]
    left_to = {address: words for servers in asked for address, words in servers.items()}
    return [
        {
            "address": server["address"],
            "forgotten": server["address"] not in left_to,
            "refused": left_to.get(server["address"]) or None,
            "error": server["error"],
        }
        for server in told
    ]


def _print(servers: list[dict[str, Any]]) -> None:
    sys.stdout.flush()
    for server in servers:
        address = printable(server["address"])
        if server["forgotten"]:
            print(f"{address} has forgotten it")
        elif server["refused"]:
            sys.stderr.write(f"  refused   {address}: {printable(server['refused'])}\n")
        else:
            why = server["error"] or "it has not answered"
            sys.stderr.write(f"  waits     {printable(why)}: it is asked again whenever it is there\n")


def left(found: Forgettable) -> list[str]:
    """What forgetting does not reach, in words."""
    lines = ["names, times, sizes of changes and SHA-256 digests in the history"]
    if found.keep:
        lines.append("the content of the last revision")
    if found.is_live:
        lines.append("the file itself, on this machine")
    if found.is_watched and not found.keep:
        lines.append("it is still watched: its next change is captured again, unless ignore = [...] names it")
    lines += [f"the same content at {shown(path)}: forget that too" for path in found.copies]
    return [*lines, "whatever copies of the store were made before, and the secret itself: change it"]
