"""Blame: which revision brought each line of a file.

Called by `blame`. The store finds it out, as `hg annotate` does; this says what cannot be asked, and whose
the revisions are.
"""

from __future__ import annotations

from typing import NamedTuple

from pacha.core.errors import Closed, UsageError
from pacha.core.names import content_path
from pacha.core.revision import Revision
from pacha.core.shown import shown as show_path
from pacha.ops.diff import is_binary, lines_of
from pacha.ops.history import entry_at, forgotten, node_at, stored_content, without_content
from pacha.ops.host import Past
from pacha.ops.secrets import opened


class Line(NamedTuple):
    """One line, without its end, and the revision that it is from."""

    revision: Revision
    text: bytes


def blame(host: Past, position: int, path: bytes) -> list[Line]:
    """The lines of a file at a position; raise NotFound or UsageError where there are none to tell of.

    What changed before the file was forgotten, removed or of another kind is not told: its lines are those of
    the first revision after that. So are those of a secret before whose key is at hand, and those of what was
    a secret and is none.
    """
    entry, node = entry_at(host, position, path), node_at(host, position, path)
    if node is None or entry is None:
        raise without_content(path, entry)
    data = stored_content(host, path, node)
    if data is None:
        raise forgotten(path)
    if is_binary(opened(host, path, entry, data)):
        shown = show_path(path)
        raise UsageError(
            f"{shown} is binary, or over 4 MB: there are no lines to tell of",
            hint=f"pacha log {shown} tells when it changed",
        )
    if entry.sealed is not None:
        annotated = _annotated(host, position, path)
    else:
        annotated = list(host.store.annotate(content_path(path), position))
    revisions = {at: host.store.at(at) for at in sorted({at for at, _ in annotated})}
    return [Line(revisions[at], text.removesuffix(b"\n")) for at, text in annotated]


def _annotated(host: Past, position: int, path: bytes) -> list[tuple[int, bytes]]:
    """(position of the revision that brought it, bytes) of each line of a secret: Mercurial, which has never
    seen a line of it, cannot say.
    """
    from difflib import SequenceMatcher

    lines: list[tuple[int, bytes]] = []
    for revision in reversed(list(host.store.history([content_path(path)], position))):
        text = lines_of(_readable(host, revision.position, path))
        matcher = SequenceMatcher(None, [line for _, line in lines], text)
        then, lines = lines, []
        for tag, start, end, first, last in matcher.get_opcodes():
            new = [(revision.position, line) for line in text[first:last]]
            lines += then[start:end] if tag == "equal" else new
    return lines


def _readable(host: Past, position: int, path: bytes) -> bytes:
    """The content at a position; empty where there is none that can be read."""
    entry, node = entry_at(host, position, path), node_at(host, position, path)
    data = stored_content(host, path, node) if node is not None else None
    try:
        return opened(host, path, entry, data) if entry is not None and data is not None else b""
    except Closed:
        return b""
