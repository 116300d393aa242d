"""Blame: which revision brought each line of a file.

Called by `blame`. The store finds it out, as `hg annotate` does; this says what cannot be asked, and whose
the revisions are.
"""

from __future__ import annotations

from typing import NamedTuple

from pacha.core.errors import UsageError
from pacha.core.names import content_path
from pacha.core.revision import Revision
from pacha.core.shown import shown as show_path
from pacha.ops.diff import is_binary
from pacha.ops.history import entry_at, forgotten, without_content
from pacha.ops.host import Past


class Line(NamedTuple):
    """One line, without its end, and the revision that it is from."""

    revision: Revision
    text: bytes


def blame(host: Past, position: int, path: bytes) -> list[Line]:
    """The lines of a file at a position; raise NotFound or UsageError where there are none to tell of.

    What changed before the file was forgotten, removed or of another kind is not told: its lines are those of
    the first revision after that.
    """
    stored = content_path(path)
    node = host.store.files(position, [stored]).get(stored)
    if node is None:
        raise without_content(path, entry_at(host, position, path))
    (data,) = list(host.store.contents([(stored, node)]))
    if data is None:
        raise forgotten(path)
    if is_binary(data):
        shown = show_path(path)
        raise UsageError(
            f"{shown} is binary, or over 4 MB: there are no lines to tell of",
            hint=f"pacha log {shown} tells when it changed",
        )
    annotated = list(host.store.annotate(stored, position))
    revisions = {at: host.store.at(at) for at in sorted({at for at, _ in annotated})}
    return [Line(revisions[at], text.removesuffix(b"\n")) for at, text in annotated]
