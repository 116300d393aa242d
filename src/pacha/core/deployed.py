"""What was deployed last: for each deployment the state in which it left the paths that it names.

Written by `pacha receive`, and read by the next, which must not silently overwrite what somebody has changed
since; later by whatever tells drift. It must not look at any file.

The text is JSON lines: first `{deployment, revision, by, time_ns, digest, ticket}`, then one path a line
with its entry as a metadata line, or null where the deployment has it absent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pacha.core.entry import Entry, parse_entry, render_entry
from pacha.core.names import escape_all, unescape


class Deployed(NamedTuple):
    """One deployment as it was made live; `digest` tells whether the next is another, `ticket` which push it
    was, where it had to be confirmed.
    """

    deployment: str
    revision: str
    by: str
    time_ns: int
    digest: str
    entries: Mapping[bytes, Entry | None]
    ticket: str = ""


def facet(entry: Entry | None) -> Entry | None:
    """What a deployment says of an entry, and nothing else."""
    if entry is None:
        return None
    return Entry(
        entry.kind, entry.mode, entry.uid, b"", entry.gid, b"",
        sha256=entry.sha256, secret=entry.secret, target=entry.target,
    )  # fmt: skip


def render(deployed: Deployed) -> bytes:
    """The text of a record."""
    head = deployed._asdict()
    del head["entries"]
    lines: list[object] = [head]
    for path, entry in sorted(deployed.entries.items()):
        line = None if entry is None else escape_all(render_entry(entry)).decode()
        lines.append([escape_all(path).decode(), line])
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def parse(text: bytes) -> Deployed:
    """Raise ValueError for what is no record."""
    try:
        head, *lines = (json.loads(line) for line in text.splitlines())
        entries = {
            unescape(path.encode()): None if line is None else parse_entry(unescape(line.encode()))
            for path, line in lines
        }
        return Deployed(**head, entries=entries)
    except (TypeError, AttributeError, RecursionError) as problem:
        raise ValueError("no record of a deployment") from problem


def last_written(records: Iterable[Deployed]) -> dict[bytes, tuple[str, Entry | None]]:
    """By path, which deployment delivered it last, and how it left it."""
    found: dict[bytes, tuple[str, Entry | None]] = {}
    for record in sorted(records, key=lambda record: record.time_ns):
        found.update((path, (record.deployment, entry)) for path, entry in record.entries.items())
    return found
