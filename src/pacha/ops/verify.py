"""Verify: the store against itself, servers' copies against it, the live files against the last revision.

Called by the verb. It changes nothing. The store is checked by Mercurial's own verification; then every
content of the last revision is read back and compared with the digest in its metadata line, which Mercurial
knows nothing of. Live files are read again, whatever the index believes of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pacha.core.changes import Change
from pacha.core.entry import Entry, parse_entry
from pacha.core.errors import DamagedStore, PachaError
from pacha.core.names import FILES, content_path, decode_path, join
from pacha.core.shown import shown
from pacha.core.tracked import Skipped
from pacha.ops.capture import look
from pacha.ops.heal import heal
from pacha.ops.history import newest
from pacha.ops.host import Host
from pacha.ops.secrets import is_content_of
from pacha.ops.tip import lines_at, must_be_there, tip_of

_AT_ONCE = 500


class Verified(NamedTuple):
    """`problems` concern the store; `live` are differences of live files from the last revision, `normalized`
    those that differ in lines only that `[[normalize]]` drops; `forgotten` have no content any more, `closed`
    one that no key at hand opens.
    """

    revision: str | None
    revisions: int
    problems: list[str]
    forgotten: list[bytes]
    live: list[Change]
    skipped: list[Skipped]
    normalized: Sequence[bytes] = ()
    servers: Sequence[Copied] = ()
    closed: Sequence[bytes] = ()


class Copied(NamedTuple):
    """A server's copy: None of `ok` where it could not be asked."""

    address: str
    ok: bool | None
    words: str


def verify(host: Host) -> Verified:
    """Check everything; problems are listed, not raised."""
    with host.lock:
        problems: list[str] = []
        found = _Contents([], [], [])
        last = None
        try:
            heal(host)
            must_be_there(host)
            if not host.store.exists:
                return Verified(None, 0, [], [], [], [])
            problems += host.store.verify()
            last = newest(host)
            if last is not None:
                found = _contents(host, last.position)
                problems += found.problems
        except DamagedStore as problem:
            problems.append(str(problem))
        if problems:
            count = last.position + 1 if last else 0
            return Verified(last.id if last else None, count, problems, found.forgotten, [], [])
        tip_of(host)
        difference = look(host, None, None, None, trusting=False)
    revision = last.id if last else None
    return Verified(
        revision,
        last.position + 1 if last else 0,
        [],
        found.forgotten,
        difference.changes,
        difference.skipped,
        difference.normalized,
        [_copied(host, address) for address in host.config.servers],
        found.closed,
    )


def _copied(host: Host, address: str) -> Copied:
    """Whether a server has what it said that it had: its newest revision's hash vouches for all before."""
    from pacha.ops.send import compare

    try:
        copy = compare(host, address)
    except PachaError as problem:
        return Copied(address, None, str(problem))
    return Copied(address, copy.stand in ("same", "ahead"), copy.words)


class _Contents(NamedTuple):
    """What was found of the contents of a revision."""

    problems: list[str]
    forgotten: list[bytes]
    closed: list[bytes]


def _contents(host: Host, position: int) -> _Contents:
    """A revision's contents, each held against its metadata line."""
    found = _Contents([], [], [])
    expected = {}
    for directory, names in lines_at(host, position, []).items():
        for name, line in names.items():
            entry = parse_entry(line)
            if entry.has_content:
                expected[content_path(join(directory, name))] = entry
    files = host.store.files(position, [FILES + b"/"])
    lone = sorted(expected.keys() ^ files.keys())
    which = [f"{'content' if path in files else 'metadata'} without the other" for path in lone]
    found.problems.extend(f"{shown(path)}: {words}" for path, words in zip(lone, which, strict=True))
    wanted = [(path, files[path]) for path in sorted(expected.keys() & files.keys())]
    for start in range(0, len(wanted), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE]
        for (stored, _), data in zip(part, host.store.contents(part), strict=True):
            path = decode_path(stored.partition(b"/")[2])
            if data is None:
                found.forgotten.append(path)
            else:
                _hold_against(host, path, expected[stored], data, found)
        host.report.progress("verifying", min(start + _AT_ONCE, len(wanted)), len(wanted))
    return found


def _hold_against(host: Host, path: bytes, entry: Entry, data: bytes, found: _Contents) -> None:
    """One content, a secret's opened; its digest says something only where this host made it."""
    try:
        plain = data if entry.sealed is None else host.identities.open(data)
    except DamagedStore as problem:
        found.problems.append(f"{shown(content_path(path))}: {problem}")
        return
    if plain is None:
        found.closed.append(path)
        return
    is_mine = entry.sealed is None or (host.secrets.has_own and entry.sealed == host.secrets.sealed)
    if is_mine and not is_content_of(host, path, entry, plain):
        found.problems.append(f"{shown(content_path(path))}: the stored content is not what was captured")
