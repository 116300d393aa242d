"""How `host list` shows hosts; itself no verb."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pacha.core.protocol import HOST
from pacha.core.quantities import about_age, about_size, format_when
from pacha.server.hosts import Listed
from pacha.ui.text import paint, use_colour

_HEAD = ("host", "role", "last seen", "last revision", "revisions", "size", "of quota")
_ROLE, _NUMBERS = 1, (4, 5, 6)  # columns: what is shown where anybody is no host; what stands to the right
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
    }
