"""`pacha status [--check]`: what is watched, what is not yet captured, and what needs a person."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from pacha.cli.printing import age, print_changes
from pacha.cli.session import Session
from pacha.core.quantities import about_duration
from pacha.ops.status import Status, status
from pacha.ops.told import change_objects, path_object, skipped_objects
from pacha.ui.result import print_object
from pacha.ui.text import paint, plural, printable, shown, use_colour

_SHOWN_AT_MOST = 20


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument(
        "--check", action="store_true", help="exit 4 where anything is pending, skipped or missing"
    )


def run(session: Session, options: Namespace) -> int:
    """Look and print."""
    found = status(session.host)
    session.report.finish()
    code = 4 if options.check and not found.is_clean else 0
    if session.as_json:
        print_object(_object(session, found), ok=code == 0)
    else:
        _print(session, found, options.verbose)
    return code


def _role(session: Session) -> str:
    return "client" if session.config.servers else "standalone"


def _object(session: Session, found: Status) -> dict[str, Any]:
    host = session.host
    return {
        "host": host.name,
        "role": _role(session),
        "state": host.state,
        "store": host.store.path.decode("utf-8", "surrogateescape"),
        "config": session.config_path,
        "watches": [path_object(path) for path in host.config.watch],
        "entries": found.entries,
        "revision": found.last.id if found.last else None,
        "pending": change_objects(found.pending),
        "skipped": skipped_objects(found.skipped),
        "missing": [path_object(path) for path in found.missing],
        "paced": [path_object(path) for path in found.paced],
        "unconfirmed": found.waiting,
        "agent": {"running": False, "pid": None, "events": None, "mode": None},
        "servers": [],
    }


def _print(session: Session, found: Status, verbose: bool) -> None:
    host, colour = session.host, use_colour()

    def row(label: str, text: str, tint: str = "") -> None:
        print(f"{label.ljust(10)}{paint(text, tint, colour and bool(tint))}")

    row(host.name, f"{_role(session)}, state {host.state}")
    watches = [shown(path) for path in host.config.watch]
    row("watching", "  ".join(watches) if watches else "nothing yet: pacha watch /etc")
    if found.last is None:
        row("history", "empty")
    else:
        last = found.last
        words = (
            last.id,
            age(last.stamp.time_ns, host.now_ns()),
            printable(last.author),
            printable(last.message),
        )
        row("last", "  ".join(words))
        row("tracked", plural(found.entries, "entry"))
    row(
        "pending",
        plural(len(found.pending), "change") if found.pending else "nothing",
        "yellow" if found.pending else "",
    )
    print_changes(found.pending, 0 if verbose else _SHOWN_AT_MOST)
    for path in found.missing:
        row("missing", shown(path), "red")
    for item in found.skipped:
        row("skipped", f"{shown(item.path)}  {item.reason}", "red" if item.failed else "")
    for path in found.paced:
        row("restless", f"{shown(path)}  changes more than 20 times an hour: captured every 10 minutes")
    for operation in found.waiting:
        left = about_duration(max(operation["deadline_ns"] - host.now_ns(), 0))
        what = f"the {operation['verb']} to {operation['target']} is undone in {left}"
        row("waiting", f"{what} unless: pacha confirm {operation['id']}", "yellow")
