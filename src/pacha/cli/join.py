"""`pacha join SERVER`: make this host a client: a key of its own, the server's host key pinned, and the one
command that lets it in. Or a machine that only reads: which of the two, the server decides.
"""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser, Namespace
from typing import NamedTuple

from pacha.cli.asking import ask
from pacha.cli.exposure import print_exposed
from pacha.cli.session import Session
from pacha.core.authorized_keys import PublicKey, parse_key
from pacha.core.config_values import WrongError, destination
from pacha.core.errors import PachaError, Refused, UsageError
from pacha.core.host_keys import keys_in, pinned, with_pins
from pacha.core.protocol import HOST, request_words
from pacha.core.shown import printable
from pacha.ops.exposed import exposed
from pacha.ops.host import Host
from pacha.ops.told import path_object
from pacha.ui.result import print_object
from pacha.ui.text import paint, use_colour


class _LetIn(NamedTuple):
    """Whether the server lets this machine in, as what, and what it says where it does not."""

    yes: bool
    role: str = HOST
    words: str = ""


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("server", metavar="SERVER", help="an ssh destination: pacha@hub.example.com")
    parser.add_argument(
        "--fingerprint",
        metavar="SHA256:…",
        help="the server's host key, as ssh-keygen -l shows it there: nothing is asked",
    )
    parser.add_argument(
        "--host-key", metavar="KEY", action="append", default=[], help="the host key itself; may be repeated"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="take the host key that the server shows")


def run(session: Session, options: Namespace) -> int:
    """Make what is missing, tell what will leave the machine, and print the next step."""
    try:
        server = destination(options.server)
    except WrongError as problem:
        raise UsageError(f"SERVER: {problem}", hint="pacha join pacha@hub.example.com") from problem
    host = session.host
    public, is_new = session.ssh.make_key(f"pacha:{host.name}")
    pins = _pin(session, server, options)
    session.add_server(server)
    let_in = _try(session, host, server)
    key = parse_key(public)
    command = f"echo {shlex.quote(f'{key} {host.name}')} | pacha host add {host.name} --key -"
    open_files = exposed(host)
    if session.as_json:
        values = {
            "server": server,
            "host": host.name,
            "key": str(key),
            "fingerprint": key.fingerprint,
            "made": is_new,
            "host_keys": [{"kind": pin.kind, "fingerprint": pin.fingerprint} for pin in pins],
            "exposed": [path_object(path) for path in open_files],
            "let_in": let_in.yes,
            "role": let_in.role if let_in.yes else None,
            "command": None if let_in.yes else command,
        }
        print_object(values)
        return 0
    if not options.quiet:
        for pin in pins:
            _row("host key", f"{pin.fingerprint} ({pin.sort}), pinned")
        _row("key", f"{key.fingerprint}{', made now' if is_new else ''}")
    print_exposed(open_files, "here")
    _print_next(server, let_in, command)
    return 0


def _row(label: str, text: str, tint: str = "") -> None:
    print(f"{label.ljust(10)}{paint(text, tint, use_colour() and bool(tint))}")


# -- the server's host key -------------------------------------------------------------------------------


def _pin(session: Session, server: str, options: Namespace) -> list[PublicKey]:
    """The keys that are pinned for the server, from now on if they were not before."""
    text = session.ssh.pins()
    before = pinned(text, server)
    if options.host_key:
        keys = [_host_key(one) for one in options.host_key]
        session.ssh.pin(with_pins(text, server, session.ssh.known_name(server), keys))
        return keys
    lines = session.ssh.host_keys(server)
    name, keys = lines[0].split()[0], keys_in(lines)
    if options.fingerprint is not None:
        if all(key.fingerprint != options.fingerprint for key in keys):
            raise Refused(f"{server} shows another host key: {keys[0].fingerprint}", hint=_SOMEBODY)
    elif before:
        if all(key in before for key in keys):
            return before
        words = f"{server} shows another host key than the pinned one: {keys[0].fingerprint}"
        raise Refused(words, hint=f"{_SOMEBODY}; was it made anew? --fingerprint takes its new one")
    else:
        _confirm(session, server, name, keys, options)
    session.ssh.pin(with_pins(text, server, name, keys))
    return keys


_SOMEBODY = "somebody may be in between: nothing was sent"


def _host_key(text: str) -> PublicKey:
    words = text.split()
    if len(words) < 2:
        hint = "ssh-ed25519 AAAA…, as in /etc/ssh/ssh_host_ed25519_key.pub of the server"
        raise UsageError("--host-key: this is no key", hint=hint)
    return PublicKey(words[0], words[1])


def _confirm(session: Session, server: str, name: str, keys: list[PublicKey], options: Namespace) -> None:
    """Nobody has said so far that this is the server: what the person's own ssh knows counts, else ask."""
    if options.yes or any(str(key) in session.ssh.known_to_person(name) for key in keys):
        return
    shown_key = f"{keys[0].fingerprint} ({keys[0].sort})"
    if not sys.stdin.isatty():
        hint = "compare it, and add --fingerprint, or -y to take it as it is"
        raise UsageError(f"{server} shows the host key {shown_key}, which nothing here knows", hint=hint)
    sys.stderr.write(f"{server} shows the host key\n  {shown_key}\n")
    sys.stderr.write("compare it there: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\n")
    if not ask("is it this one?"):
        raise Refused(f"not done: the host key of {server} was not confirmed")


# -- what comes of it ------------------------------------------------------------------------------------


def _try(session: Session, host: Host, server: str) -> _LetIn:
    """Knock, as the sender will; who is refused so may be let in to read."""
    said = session.ssh.run(server, request_words(host.machine))
    if said.exit == 0:
        return _LetIn(True)
    if said.is_locked_out:
        return _LetIn(False)
    try:
        return _LetIn(True, session.ssh.role(server))
    except PachaError:
        return _LetIn(False, words=said.last_words)


def _print_next(server: str, let_in: _LetIn, command: str) -> None:
    if let_in.role != HOST:
        _row("joined", f"{server} lets this machine read, as {let_in.role}: pacha log --host NAME")
        return
    if let_in.yes:
        _row("joined", f"{server} lets this host in: every revision goes there from now on")
        return
    if let_in.words:
        _row("server", printable(let_in.words), "yellow")
    _row("next", f"on the server ({server}), run this once:")
    print(f"\n{command}\n")
    print("(to read other hosts' histories from here, and send none: --role reader behind it)")
