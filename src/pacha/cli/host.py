"""`pacha host add|list|rekey|reset|remove`: whose histories are kept on this server, and who reads them."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any

from pacha.cli.asking import ask
from pacha.cli.session import Session
from pacha.core.authorized_keys import PublicKey, parse_key
from pacha.core.config_values import is_host_name
from pacha.core.errors import Refused, UsageError
from pacha.core.protocol import HOST, ROLES
from pacha.core.quantities import parse_duration, parse_size
from pacha.ui.result import print_object
from pacha.ui.text import plural, printable

_KEY = 'a file with its public key, or "-" for standard input'


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="let a host in, and keep its history; or one who reads")
    add.add_argument("name", metavar="NAME")
    add.add_argument(
        "--role",
        choices=ROLES,
        default=HOST,
        help="reader: reads every history; admin: also rebuilds any host",
    )
    add.add_argument("--key", metavar="FILE", help=_KEY)
    add.add_argument("--ssh", metavar="DESTINATION", help="go there, and do both ends: root@web1")
    add.add_argument("--address", metavar="SERVER", help="with --ssh: how that host reaches this server")
    add.add_argument("--quota", metavar="SIZE", help="how large its history may grow (default: serve.quota)")
    listing = actions.add_parser("list", help="when each was last seen, and what it keeps here")
    listing.add_argument("--silent", metavar="AGE", help="only those not seen for so long; exit 4 if any")
    listing.add_argument(
        "--nagios", action="store_true", help="with --silent: one line for Nagios, and its exit codes"
    )
    rekey = actions.add_parser("rekey", help="give a host another key; its open sessions end")
    rekey.add_argument("name", metavar="NAME")
    rekey.add_argument("--key", metavar="FILE", required=True, help=_KEY)
    reset = actions.add_parser("reset", help="put its history aside, and begin a new one")
    reset.add_argument("name", metavar="NAME")
    hooks = actions.add_parser("post-receive", help="run the hooks for what they were not told of yet")
    hooks.add_argument("name", metavar="NAME")
    remove = actions.add_parser("remove", help="let a host in no more; its open sessions end")
    remove.add_argument("name", metavar="NAME")
    remove.add_argument("--purge", action="store_true", help="remove its history too, for ever")
    remove.add_argument("-y", "--yes", action="store_true", help="do not ask")


def run(session: Session, options: Namespace) -> int:
    """Do it, and print."""
    if "name" in options and not is_host_name(options.name):
        hint = 'letters, digits, ".", "_" and "-", at most 64, not beginning with "." or "-"'
        raise UsageError(f"{options.name!r} is no name of a host", hint=hint)
    return _ACTIONS[options.action](session, options)


def _add(session: Session, options: Namespace) -> int:
    if (options.key is None) == (options.ssh is None):
        raise UsageError("how does its key come here?", hint="--key FILE, or --ssh root@HOST to fetch it")
    if options.role != HOST and (options.ssh is not None or options.quota is not None):
        option = "--ssh" if options.ssh is not None else "--quota"
        hint = "pacha host add NAME --role reader --key FILE"
        raise UsageError(f"{option} is for a host, and not for one who reads", hint=hint)
    if options.ssh is not None:
        from pacha.cli.enrol import enrol

        return enrol(session, options)
    if options.address is not None:
        raise UsageError("--address goes with --ssh", hint="pacha host add --help")
    quota = parse_size(options.quota) if options.quota is not None else 0
    key = _key(options.key)
    hosts = session.serving.hosts
    is_new = hosts.add(options.name, key, quota=quota, now_ns=time.time_ns(), role=options.role)
    goes_on = is_new and hosts.registry.has_store(options.name)
    values = {
        "host": options.name,
        "role": options.role,
        "key": key.fingerprint,
        "added": is_new,
        "history": goes_on,
    }
    words = [f"{options.role} {options.name} is let in, key {key.fingerprint}"]
    if not is_new:
        words = [f"{options.role} {options.name} was let in before, with this key"]
    if goes_on:
        words.append(f"it goes on with the history that is here; pacha host reset {options.name} begins anew")
    return _done(session, options, values, words)


def _rekey(session: Session, options: Namespace) -> int:
    key = _key(options.key)
    ended = session.serving.hosts.rekey(options.name, key)
    values = {"host": options.name, "key": key.fingerprint, "ended": ended}
    words = [f"{options.name} has another key now, {key.fingerprint}{_ended(ended)}"]
    return _done(session, options, values, words)


def _reset(session: Session, options: Namespace) -> int:
    aside, ended = session.serving.hosts.reset(options.name)
    where = aside.decode("utf-8", "surrogateescape") if aside is not None else None
    values = {"host": options.name, "archived": where, "ended": ended}
    words = [f"host {options.name} begins a new history with its next revision{_ended(ended)}"]
    words.append(f"the old one is kept: {printable(where)}" if where else "there was none before")
    return _done(session, options, values, words)


def _remove(session: Session, options: Namespace) -> int:
    if options.purge and not options.yes:
        if not sys.stdin.isatty():
            raise UsageError("there is no terminal to ask on", hint="add -y to do it")
        sys.stderr.write(f"the whole history of {options.name} will be gone, for ever\n")
        if not ask():
            raise Refused("not done: nothing was removed")
    ended = session.serving.hosts.remove(options.name, purge=options.purge)
    values = {"host": options.name, "purged": options.purge, "ended": ended}
    words = [f"{options.name} is let in no more{_ended(ended)}"]
    if session.serving.registry.has_history(options.name):
        words.append(f"its history stays: pacha log --host {options.name}")
    return _done(session, options, values, words)


def _post_receive(session: Session, options: Namespace) -> int:
    """Sessions start it; by hand it makes up for what a crash cut off."""
    from pacha.server.announce import run_hooks

    secrets, note = session.config.secrets_paths, session.report.note
    count = run_hooks(session.kept, options.name, session.hooks, secrets, note)
    words = [f"the hooks were told of {plural(count, 'revision')}"]
    return _done(session, options, {"host": options.name, "told": count}, words)


def _list(session: Session, options: Namespace) -> int:
    from pacha.cli import hosts_table as table

    if options.nagios:
        return table.nagios(session, options.silent)
    silent = parse_duration(options.silent) if options.silent is not None else None
    now = time.time_ns()
    found = session.serving.hosts.listed()
    if silent is not None:
        found = [one for one in found if table.is_silent(one, silent, now)]
    code = 4 if silent is not None and found else 0
    if session.as_json:
        print_object({"hosts": [table.host_object(one) for one in found]}, ok=code == 0)
    elif found:
        table.print_hosts(found, now)
    elif not options.quiet:
        print("no hosts yet: pacha host add NAME --ssh root@NAME" if silent is None else "none is silent")
    return code


def _key(path: str) -> PublicKey:
    from pacha.cli.session import read_text

    return parse_key(sys.stdin.read() if path == "-" else read_text(path))


def _ended(count: int) -> str:
    return f"; {plural(count, 'open session')} ended" if count else ""


def _done(session: Session, options: Namespace, values: dict[str, Any], words: list[str]) -> int:
    if session.as_json:
        print_object(values)
    elif not options.quiet:
        print("\n".join(words))
    return 0


_ACTIONS: dict[str, Callable[[Session, Namespace], int]] = {
    "add": _add,
    "list": _list,
    "rekey": _rekey,
    "reset": _reset,
    "post-receive": _post_receive,
    "remove": _remove,
}
