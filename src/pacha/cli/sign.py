"""`pacha sign DEPLOYMENT --for HOST|@GROUP…`: sign what hosts shall be, with an SSH key, for a time."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pacha.cli.reaching import SignedFiles, sources
from pacha.cli.session import Session
from pacha.core.deployment import Prepared
from pacha.core.destinations import expand, host_of
from pacha.core.errors import Failed, PachaError, UsageError
from pacha.core.quantities import SECOND, format_when, parse_duration
from pacha.core.signed import Statement, parse, render, time_words
from pacha.core.to_sign import USUAL, new_statement
from pacha.ui.result import print_object
from pacha.ui.text import plural, printable


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("deployment", metavar="DEPLOYMENT", help="its directory")
    parser.add_argument(
        "--for", dest="hosts", metavar="HOST|@GROUP", nargs="+", action="extend",
        help="the hosts that it is for, named as for a push",
    )  # fmt: skip
    parser.add_argument(
        "--valid", metavar="DURATION", default=USUAL, help=f"how long hosts take it (default: {USUAL})"
    )
    parser.add_argument(
        "--key",
        metavar="FILE",
        help="a private key, or the .pub of one in the agent (default: the agent's first, else ~/.ssh/id_*)",
    )


def run(session: Session, options: Namespace) -> int:
    """Check everything, sign, and tell."""
    if not options.hosts:
        raise UsageError("for which hosts?", hint="pacha sign DEPLOYMENT --for HOST, or @GROUP of [groups]")
    found = sources(options.deployment)
    prepared = Prepared(found)
    files = SignedFiles(options.deployment)
    destinations = expand(options.hosts, session.config.groups)
    hosts = [(host_of(one), prepared.for_host(one).deployment) for one in destinations]
    valid_ns = parse_duration(options.valid)
    statement = new_statement(found, hosts, valid_ns, session.now_ns(), _before(files))
    text = render(statement).encode("ascii")
    signature = files.sign(text, options.key)
    key = files.key_of(text, signature)
    if not key:
        raise Failed("ssh-keygen has made no signature that it knows itself", hint="try another --key")
    files.write(text, signature)
    _tell(session, statement, key)
    return 0


def _before(files: SignedFiles) -> Statement | None:
    """What was signed last; nothing where that cannot be read: it is about to be replaced."""
    try:
        text = files.read()[0].decode("ascii")
        return parse(text) if text else None
    except (PachaError, UnicodeDecodeError):
        return None


def _tell(session: Session, statement: Statement, key: str) -> None:
    if session.as_json:
        values = {
            "deployment": statement.deployment, "serial": statement.serial,
            "from": time_words(statement.begin), "until": time_words(statement.until),
            "hosts": [{"host": name, "digest": made} for name, made in statement.hosts.items()],
            "contents": [{"path": path, "digest": made} for path, made in statement.contents.items()],
            "key": key,
        }  # fmt: skip
        print_object(values)
    elif not session.options.quiet:
        hosts = plural(len(statement.hosts), "host")
        until = format_when(statement.until * SECOND)
        print(f"signed {statement.deployment} for {hosts}, until {until}, by {printable(key)}")
