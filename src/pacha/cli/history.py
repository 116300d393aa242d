"""What the verbs that look back share: arguments and the printing of one revision.

Called by `log`, `show`, `diff`, `cat` and `blame`; itself no verb.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable

from pacha.cli.session import Session
from pacha.core.changes import kind_words
from pacha.core.config_values import is_host_name
from pacha.core.errors import NotFound, UsageError
from pacha.core.names import is_below
from pacha.core.quantities import format_when
from pacha.core.revision import Revision
from pacha.core.who import tell
from pacha.ops.diff import FileDiff, words
from pacha.ops.heal import heal_if_free
from pacha.ops.history import Told, newest, resolve
from pacha.ops.host import Host, Past
from pacha.ops.tip import must_be_there
from pacha.ui.text import CHANGE_COLOURS, content_line, paint, printable, shown, use_colour


def add_host_option(parser: ArgumentParser) -> None:
    """`--host`, which every verb that looks back takes."""
    parser.add_argument("--host", metavar="H", help="the history of this host, as the server keeps it")


def add_identity_option(parser: ArgumentParser) -> None:
    """`--identity`, which every verb takes that reads contents."""
    parser.add_argument(
        "--identity",
        metavar="FILE",
        action="append",
        help="a private key, age's or OpenSSH's, that opens encrypted contents; may be given again",
    )


def opened(session: Session, name: str | None) -> Past:
    """This host's history, or that of another one which a server keeps, this one or that of this client."""
    if name is None:
        return ready(session.host)
    if not is_host_name(name):
        raise UsageError(f"{name!a} is no name of a host", hint="pacha host list, on the server")
    identities = session.identities  # before root becomes the account that serves: it may not read the file
    past = session.others.past(name)
    past.identities = identities
    return past


def paths_in(session: Session, name: str | None, texts: list[str]) -> list[bytes]:
    """Paths as a person wrote them, as that history has them; another host's are whole, and taken as they
    are.
    """
    if name is None:
        return session.look_up(texts)
    for text in texts:
        if not text.startswith("/"):
            raise UsageError(f"{text} is not absolute", hint=f"name it as it is on {name}: /etc/hosts")
    return [as_it_is(text) for text in texts]


def as_it_is(text: str) -> bytes:
    """An absolute path without `.`, `..` and needless slashes; no link is looked at."""
    return b"/" + os.path.normpath(os.fsencode(text)).lstrip(b"/")


def ready(host: Host) -> Host:
    """The host, with what a killed Pacha left behind healed where that is possible."""
    heal_if_free(host)
    must_be_there(host)
    return host


def meant(host: Past, at: str | None) -> Revision:
    """The revision that `--at` names; without it the last one. Raise NotFound where there is none."""
    revision = resolve(host, at) if at is not None else newest(host)
    if revision is None:
        raise NotFound("nothing has been captured yet", hint="pacha watch PATH")
    return revision


def clock_time(revision: Revision) -> str:
    """When it was made, local and to the second, as wide for every revision."""
    return format_when(revision.stamp.time_ns)[:19].replace("T", " ").ljust(19)


def print_head(told: Told, colour: bool) -> None:
    """Who, when and why, as a few lines."""
    revision = told.revision
    print(paint(f"revision {revision.id}", "yellow", colour))
    print(f"time     {format_when(revision.stamp.time_ns)}")
    print(f"author   {printable(revision.author)}")
    for line in dict.fromkeys(map(tell, revision.stamp.who)):
        print(f"by       {printable(line)}")
    print(f"cause    {printable(revision.stamp.cause)}")
    for line in revision.message.splitlines():
        print(f"message  {printable(line)}")
    for hook in revision.stamp.hooks:
        print(f"hook     {printable(str(hook.get('name')))} exit {hook.get('exit')}")
        for line in str(hook.get("output", "")).splitlines():
            print(f"         {printable(line)}")


def names_of_kinds(as_json: bool) -> Callable[[bytes], str]:
    """How kinds of entries are called: as the store writes them in JSON, in words for people."""
    return bytes.decode if as_json else kind_words


def print_diffs(diffs: Iterable[FileDiff], colour: bool | None = None) -> bool:
    """Each path's differences; whether there were any. To a pipe the lines go out byte for byte."""
    colour = use_colour() if colour is None else colour
    is_terminal = sys.stdout.isatty()
    any_at_all = False
    for diff in diffs:
        any_at_all = True
        change, more = diff.change, words(diff)
        head = f"{change.change} {shown(change.path)}"
        print(paint(head, CHANGE_COLOURS[change.change], colour) + (f": {more}" if more else ""))
        sys.stdout.flush()
        for line in diff.lines:
            if is_terminal:
                print(paint(content_line(line), _tint(line), colour))
            else:
                sys.stdout.buffer.write(line + b"\n")
        sys.stdout.flush()
    return any_at_all


def _tint(line: bytes) -> str:
    if line.startswith((b"--- ", b"+++ ")):
        return "bold"
    return {b"+": "green", b"-": "red", b"@": "cyan"}.get(line[:1], "")


def diff_object(diff: FileDiff) -> dict[str, object]:
    """`{path, change, metadata, binary, encrypted, diff}`; `diff` is the unified diff as text."""
    from pacha.ops.told import path_object

    text = b"\n".join([*diff.lines, b""]).decode("utf-8", "replace") if diff.lines else ""
    change = diff.change
    return {
        **path_object(change.path),
        "change": change.change,
        "metadata": diff.metadata,
        "binary": diff.binary,
        "encrypted": diff.encrypted,
        "diff": text,
    }


def within(path: bytes, tops: list[bytes]) -> bool:
    """Whether a path is one of `tops` or lies below one; every path where there are none."""
    return not tops or any(is_below(path, top) for top in tops)
