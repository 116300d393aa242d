"""Verify: the store against itself, servers' copies against it, the live files against the last revision.

Called by the verb. It changes nothing. The store is checked by Mercurial's own verification; then every
content of the last revision is read back and compared with the digest in its metadata line, which Mercurial
knows nothing of. Live files are read again, whatever the index believes of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from pacha.core.changes import Change
from pacha.core.entry import parse_entry
from pacha.core.errors import DamagedStore, PachaError
from pacha.core.names import FILES, content_path, decode_path, join
from pacha.core.shown import shown
from pacha.core.tracked import Skipped
from pacha.ops.capture import look
from pacha.ops.heal import heal
from pacha.ops.history import newest
from pacha.ops.host import Host
from pacha.ops.tip import lines_at, must_be_there, tip_of

_AT_ONCE = 500


class Verified(NamedTuple):
    """`problems` concern the store; `live` are differences of live files from the last revision, `normalized`
    those that differ in lines only that `[[normalize]]` drops; `forgotten` have no content any more.
    """

    revision: str | None
    revisions: int
    problems: list[str]
    forgotten: list[bytes]
    live: list[Change]
    skipped: list[Skipped]
    normalized: Sequence[bytes] = ()
    servers: Sequence[Copied] = ()


class Copied(NamedTuple):
    """A server's copy: None of `ok` where it could not be asked."""

    address: str
    ok: bool | None
    words: str


def verify(host: Host) -> Verified:
    """Check everything; problems are listed, not raised."""
    with host.lock:
        problems: list[str] = []
        forgotten: list[bytes] = []
        last = None
        try:
            heal(host)
            must_be_there(host)
            if not host.store.exists:
                return Verified(None, 0, [], [], [], [])
            problems += host.store.verify()
            last = newest(host)
            if last is not None:
                more, forgotten = _contents(host, last.position)
                problems += more
        except DamagedStore as problem:
            problems.append(str(problem))
        if problems:
            return Verified(
                last.id if last else None, last.position + 1 if last else 0, problems, forgotten, [], []
            )
        tip_of(host)
        difference = look(host, None, None, None, trusting=False)
    revision = last.id if last else None
    return Verified(
        revision,
        last.position + 1 if last else 0,
        [],
        forgotten,
        difference.changes,
        difference.skipped,
        difference.normalized,
        [_copied(host, address) for address in host.config.servers],
    )


def _copied(host: Host, address: str) -> Copied:
    """Whether a server has what it said that it had: its newest revision's hash vouches for all before."""
    from pacha.ops.send import compare

    try:
        copy = compare(host, address)
    except PachaError as problem:
        return Copied(address, None, str(problem))
    return Copied(address, copy.stand in ("same", "ahead"), copy.words)


def _contents(host: Host, position: int) -> tuple[list[str], list[bytes]]:
    """(complaints, forgotten paths) of a revision's contents, each held against its metadata line."""
    problems: list[str] = []
    forgotten: list[bytes] = []
    expected = {}
    for directory, names in lines_at(host, position, []).items():
        for name, line in names.items():
            entry = parse_entry(line)
            if entry.has_content:
                expected[content_path(join(directory, name))] = entry.sha256
    files = host.store.files(position, [FILES + b"/"])
    lone = sorted(expected.keys() ^ files.keys())
    problems += [f"{shown(p)}: {'content' if p in files else 'metadata'} without the other" for p in lone]
    wanted = [(path, files[path]) for path in sorted(expected.keys() & files.keys())]
    for start in range(0, len(wanted), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE]
        for (path, _), data in zip(part, host.store.contents(part), strict=True):
            if data is None:
                forgotten.append(decode_path(path.partition(b"/")[2]))
            elif hashlib.sha256(data).hexdigest().encode() != expected[path]:
                problems.append(f"{shown(path)}: the stored content is not what was captured")
        host.report.progress("verifying", min(start + _AT_ONCE, len(wanted)), len(wanted))
    return problems, forgotten
