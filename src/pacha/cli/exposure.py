"""How `join` and `host add --ssh` tell which files a server will hold in the clear; itself no verb."""

from __future__ import annotations

from collections.abc import Sequence

from pacha.ui.text import paint, plural, shown, use_colour

_SHOWN_AT_MOST = 8


def print_exposed(paths: Sequence[bytes], where: str) -> None:
    """`where` the files are: here, or there."""
    if not paths:
        return
    files = plural(len(paths), "captured file")
    words = f"{files}, closed to others {where}, will lie open to the server:"
    print(f"{'clear'.ljust(10)}{paint(words, 'yellow', use_colour())}")
    for path in paths[:_SHOWN_AT_MOST]:
        print(f"            {shown(path)}")
    if len(paths) > _SHOWN_AT_MOST:
        print(f"            … and {len(paths) - _SHOWN_AT_MOST:,} more (--json lists all)")
    print('          encrypt one: [secrets] paths = ["PATH"] in pacha.toml, pacha capture,')
    print("          then pacha forget PATH --keep-last: what was captured before is in the clear")
    print('          keep one out: ignore = ["PATH"] in pacha.toml, then pacha forget PATH')
