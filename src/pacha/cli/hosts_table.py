"""How `host list` shows hosts, to people, as JSON and to Nagios; itself no verb."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from pacha.cli.session import Session
from pacha.core.errors import PachaError, UsageError
from pacha.core.health import Health
from pacha.core.protocol import HOST
from pacha.core.quantities import about_age, about_size, format_when, parse_duration
from pacha.server.hosts import Listed
from pacha.ui.text import clip, paint, plural, printable, use_colour

_HEAD = ("host", "role", "last seen", "last revision", "revisions", "size", "of quota")
_ROLE, _NUMBERS = 1, (4, 5, 6)  # columns: what is shown where anybody is no host; what stands to the right
_COLUMNS = 80
_NAMED = 20  # hosts on the one line for Nagios
_WARN, _FULL = 80, 100


def print_hosts(hosts: Sequence[Listed], now_ns: int) -> None:
    """One line each, in columns as wide as they need to be."""
    rows = [_row(one, now_ns) for one in hosts]
    widths = [max(len(row[at]) for row in (_HEAD, *rows)) for at in range(len(_HEAD))]
    if all(one.role == HOST for one in hosts):
        widths[_ROLE] = 0
    colour = use_colour()
    print(paint(_line(_HEAD, widths), "dim", colour))
    for one, row in zip(hosts, rows, strict=True):
        share = _share(one)
        tint = "red" if share >= _FULL else "yellow" if share >= _WARN else ""
        print(paint(_line(row, widths), tint, colour))
        for words in one.health.ails if one.health else ():
            print(paint(f"  {clip(printable(words), _COLUMNS - 2)}", "yellow", colour))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.rjust(width) if at in _NUMBERS else cell.ljust(width)
        for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        if width
    ]
    return "  ".join(cells).rstrip()


def _row(one: Listed, now_ns: int) -> tuple[str, ...]:
    seen = "removed" if one.removed else about_age(one.seen_ns, now_ns) if one.seen_ns else "never"
    if one.role != HOST:
        return one.name, one.role, seen, "", "", "", ""
    count = f"{one.revisions:,}" if one.revision else ""
    return one.name, one.role, seen, one.revision or "-", count, about_size(one.used), f"{_share(one)} %"


def _share(one: Listed) -> int:
    """Of its quota, in whole percent."""
    return 100 * one.used // one.quota if one.quota else 0


def host_object(one: Listed) -> dict[str, Any]:
    """The documented fields."""
    return {
        "host": one.name,
        "role": one.role,
        "removed": one.removed,
        "added": format_when(one.added_ns) if one.added_ns else None,
        "seen": format_when(one.seen_ns) if one.seen_ns else None,
        "revision": one.revision or None,
        "revisions": one.revisions,
        "used": one.used,
        "quota": one.quota,
        "health": _health(one.health) if one.health else None,
    }


def _health(health: Health) -> dict[str, Any]:
    return {
        "time": format_when(health.time_ns),
        "version": health.version,
        "agent": health.agent,
        "backlog": health.backlog,
        "skipped": health.skipped,
        "degraded": list(health.degraded),
        "problem": health.problem or None,
    }


# -- silence ---------------------------------------------------------------------------------------------


def is_silent(one: Listed, silent_ns: int, now_ns: int) -> bool:
    """Whether a host that is let in was not seen for longer; one that never was counts from when it came."""
    return one.is_host and now_ns - (one.seen_ns or one.added_ns) > silent_ns


def nagios(session: Session, age: str | None) -> int:
    """One line as Nagios and its kin want it, with performance data; the exit code that they want as well.

    CRITICAL where a host is silent, WARNING where one has something to be looked after, and UNKNOWN where
    nothing could be found out.
    """
    try:
        if age is None:
            raise UsageError("--nagios goes with --silent AGE")
        silent_ns, now = parse_duration(age), time.time_ns()
        hosts = [one for one in session.serving.hosts.listed() if one.is_host]
    except (PachaError, OSError) as problem:
        print(f"PACHA UNKNOWN - {_plain(str(problem))}")
        return 3
    silent = [one.name for one in hosts if is_silent(one, silent_ns, now)]
    ailing = [one.name for one in hosts if one.health and one.health.ails and one.name not in silent]
    found = [("silent", silent), ("ailing", ailing)]
    words = [f"{len(names)} of {len(hosts)} {what}: {_some(names)}" for what, names in found if names]
    code, state = (2, "CRITICAL") if silent else (1, "WARNING") if ailing else (0, "OK")
    text = "; ".join(words) or f"{plural(len(hosts), 'host')}, none silent for {age}"
    most = len(hosts)
    figures = f"silent={len(silent)};;0;0;{most} ailing={len(ailing)};0;;0;{most} hosts={most};;;0"
    print(f"PACHA {state} - {text} | {figures}")
    return code


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _plain(words: str) -> str:
    """Without what would end the text: performance data begins with a bar."""
    return printable(words).replace("|", "/")
