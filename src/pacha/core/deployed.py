"""What was deployed last: for each deployment the state in which it left the paths that it names, and those
that it named once.

Written by `pacha receive`, and read by the next, which must not silently overwrite what somebody has changed
since; later by whatever tells drift. It must not look at any file.

The text is JSON lines: first `{deployment, revision, by, time_ns, digest, ticket, signed_by, serial}`,
then one path a line with its entry as a metadata line, or null where the deployment has it absent; a third
value, true, where the deployment does not name it any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pacha.core.entry import Entry, parse_entry, render_entry
from pacha.core.names import escape_all, unescape


class Accepted(NamedTuple):
    """The newest of the deployments of one name that a host has taken by its signature, and when."""

    serial: int
    digest: str
    time_ns: int


class Deployed(NamedTuple):
    """One deployment as it was made live; `digest` tells whether the next is another, `ticket` which push it
    was, where it had to be confirmed. `former` is how it left what it does not name any more. `signed_by` and
    `serial` are empty where nobody had to sign.
    """

    deployment: str
    revision: str
    by: str
    time_ns: int
    digest: str
    entries: Mapping[bytes, Entry | None]
    ticket: str = ""
    former: Mapping[bytes, Entry | None] = {}
    signed_by: str = ""
    serial: int = 0


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
    del head["entries"], head["former"]
    lines: list[object] = [head]
    for entries, more in ((deployed.entries, []), (deployed.former, [True])):
        for path, entry in sorted(entries.items()):
            line = None if entry is None else escape_all(render_entry(entry)).decode()
            lines.append([escape_all(path).decode(), line, *more])
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def parse(text: bytes) -> Deployed:
    """Raise ValueError for what is no record."""
    try:
        head, *lines = (json.loads(line) for line in text.splitlines())
        entries: dict[bytes, Entry | None] = {}
        former: dict[bytes, Entry | None] = {}
        for path, line, *more in lines:
            entry = None if line is None else parse_entry(unescape(line.encode()))
            (former if more else entries)[unescape(path.encode())] = entry
        return Deployed(**head, entries=entries, former=former)
    except (TypeError, AttributeError, RecursionError) as problem:
        raise ValueError("no record of a deployment") from problem


def last_written(records: Iterable[Deployed]) -> dict[bytes, tuple[str, Entry | None]]:
    """By path, which deployment delivers it, none where that does no more, and how it left it."""
    found: dict[bytes, tuple[str, Entry | None]] = {}
    ordered = sorted(records, key=lambda record: record.time_ns)
    for record in ordered:
        found.update((path, ("", entry)) for path, entry in record.former.items())
    for record in ordered:
        found.update((path, (record.deployment, entry)) for path, entry in record.entries.items())
    return found
