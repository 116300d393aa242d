"""Admission: may this revision extend this line? One pure function, asked by both sides.

The client asks before it commits, so that it never holds a revision that its server will refuse; the server
asks of what arrives. A wrong date is no ground: clocks are wrong, and order is the position in the line. It
must not read a store: what it needs to see of the line is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from pacha.core.entry import DIRECTORY, check_entry, render_directory, split_directory
from pacha.core.names import (
    FILES,
    META,
    content_path,
    decode_path,
    is_legal,
    join,
    meta_directory,
    meta_path,
    split,
)
from pacha.core.revision import Stamp


class Limits(NamedTuple):
    """Bounds on one revision; sizes in bytes."""

    content: int = 1_000_000_000
    metadata: int = 100_000_000
    path: int = 16_384


class Proposal(NamedTuple):
    """A revision that wants to be added: `sizes` gives each store path's new length, None where it is
    removed. Of one that came from elsewhere, `digests` gives the SHA-256 of contents, hexadecimal, and
    `place` its number in the line, from 1.
    """

    parents: Sequence[str]
    branch: str
    stamp: Stamp
    sizes: Mapping[bytes, int | None]
    digests: Mapping[bytes, bytes] = MappingProxyType({})
    place: int = 0


class _Directory(NamedTuple):
    """What a metadata file says: the names of its entries, and of those whose content is stored, with what
    SHA-256, where it says so.
    """

    names: frozenset[bytes]
    stored: Mapping[bytes, bytes | None]


class _Line(NamedTuple):
    """The line as it would be after the revision; metadata files are read once each."""

    text_of: Callable[[bytes], bytes | None]
    has: Callable[[bytes], bool] | None
    read: dict[bytes, _Directory]


def judge(
    proposal: Proposal,
    *,
    host: str,
    tip: str,
    text_of: Callable[[bytes], bytes | None],
    has: Callable[[bytes], bool] | None = None,
    limits: Limits = Limits(),  # noqa: B008 - immutable
) -> list[str]:
    """Every reason against the revision, each one sentence; empty where it may be added.

    `text_of(store path)` gives the bytes of a metadata file as they would be after the revision, None where
    there would be none. `has(store path)` tells whether there would be such a file: left out by who makes
    contents and metadata from one and the same thing.
    """
    reasons = []
    if proposal.stamp.host != host:
        reasons.append(f"it is a revision of host {proposal.stamp.host!r}, not of {host!r}")
    if list(proposal.parents) != ([tip] if tip else []):
        reasons.append("it does not extend the line: its one parent must be the newest revision")
    if proposal.branch != "default":
        reasons.append("it is not on the one branch")
    if not proposal.sizes:
        reasons.append("it changes nothing")
    if proposal.place not in (0, proposal.stamp.seq):
        reasons.append(f"it says that it is number {proposal.stamp.seq} of the line, and is {proposal.place}")
    line = _Line(text_of, has, {})
    for path in sorted(proposal.sizes):
        reasons.extend(_judge_path(path, proposal, line, limits))
    return reasons


def _judge_path(path: bytes, proposal: Proposal, line: _Line, limits: Limits) -> list[str]:
    size = proposal.sizes[path]
    shown = path.decode("utf-8", "backslashreplace")
    if len(path) > limits.path or not is_legal(path):
        return [f"{shown[:200]} is no legal path of a store"]
    top = path.partition(b"/")[0]
    bound = limits.content if top == FILES else limits.metadata
    if size is not None and size > bound:
        mend = f" (pacha forget {shown[5:]} takes it out of the history)" if top == FILES else ""
        return [f"{shown} is larger than {bound} bytes{mend}"]
    try:
        if top == META and size is not None:
            _judge_directory(meta_directory(path), line)
        elif top == FILES:
            return _judge_content(path, size, proposal.digests.get(path), line)
    except ValueError as problem:
        return [f"{shown}: {problem}"]
    return []


def _judge_content(path: bytes, size: int | None, digest: bytes | None, line: _Line) -> list[str]:
    """A content needs a line that says it is stored, and which it is; a content that goes must have none."""
    directory, name = split(decode_path(path.partition(b"/")[2]))
    stored = _read(directory, line).stored
    if (name in stored) != (size is not None):
        problem = "content without its metadata" if size is not None else "metadata without its content"
    # One that was forgotten here is an empty one where it had to be sent again.
    elif size and digest and stored[name] not in (None, digest):
        problem = "another content than its metadata says"
    else:
        return []
    return [f"{path.decode('utf-8', 'backslashreplace')} is {problem}"]


def _judge_directory(directory: bytes, line: _Line) -> None:
    """Raise ValueError where it, or what it says, could not be restored."""
    found = _read(directory, line)
    if line.has is None:
        return
    for name in found.stored:
        if not line.has(content_path(join(directory, name))):
            raise ValueError("metadata without its content")
    for name in found.names - {b"."}:
        if line.has(meta_path(join(directory, name))):
            raise ValueError("an entry is a directory and something else")
    parent, name = split(directory)
    if name != b"." and name in _read(parent, line).names:
        raise ValueError("a directory is something else as well")


def _read(directory: bytes, line: _Line) -> _Directory:
    """What is said of a directory's entries; ValueError where one line of it does not parse."""
    if directory not in line.read:
        text = line.text_of(meta_path(directory)) or b""
        lines = split_directory(text)
        if render_directory(lines) != text:
            raise ValueError("metadata not sorted")
        stored = {}
        for name, said in lines.items():
            entry = check_entry(said)
            if (name == b".") != (entry.kind == DIRECTORY):
                raise ValueError("a directory's line stands in another place than its own")
            if entry.has_content:
                stored[name] = entry.sha256
        line.read[directory] = _Directory(frozenset(lines), stored)
    return line.read[directory]
