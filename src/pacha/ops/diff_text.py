"""The differences that a revision makes, as one text: what `pacha show` prints below its head, for hooks.

Called by capture and after a receive, and only where a hook is there to read it. As captures wait for it, its
length and the time that it takes are limited. It must not show the contents of what `[secrets]` names.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pacha.core.changes import Change, describe, kind_words
from pacha.core.errors import PachaError
from pacha.core.patterns import Ignore
from pacha.core.shown import shown
from pacha.ops.diff import FileDiff, render, words
from pacha.ops.host import Host, Past
from pacha.ops.secrets import is_secret
from pacha.ops.tip import last_of

LONGEST = 256_000  # bytes
_PATIENCE_ALL, _PATIENCE_EACH = 5.0, 2.0  # seconds for all files, and for each
_HIDDEN = "content not shown, as [secrets] says"


def diff_text(host: Host, changes: Sequence[Change]) -> dict[str, Any]:
    """`{diff, diff_cut}` of the last revision, which made `changes`: the text, and whether it is cut."""
    last = last_of(host)
    position = last.position if last is not None else -1
    return diff_at(host, position, changes, host.config.secrets_paths, host.report.note)


def diff_at(
    past: Past,
    position: int,
    changes: Sequence[Change],
    secrets: Sequence[str],
    note: Callable[[str], None],
) -> dict[str, Any]:
    """The same of the revision at a position; `secrets` are the patterns of what is not shown."""
    parts: list[bytes] = []
    room = LONGEST
    is_whole = False
    try:
        for line in _lines(past, position, changes, secrets):
            parts.append(line[:room])
            room -= len(line) + 1
            if room < 0:
                break
        else:
            is_whole = True
    except TimeoutError:
        pass
    except (PachaError, OSError) as problem:  # the revision is there all the same
        note(f"the differences cannot be shown to hooks: {problem}")
    text = b"\n".join([*parts, b""])[:LONGEST].decode("utf-8", "replace")
    return {"diff": text, "diff_cut": not is_whole}


def _lines(past: Past, position: int, changes: Sequence[Change], secrets: Sequence[str]) -> Iterator[bytes]:
    """Line by line; TimeoutError where it takes too long."""
    deadline = time.monotonic() + _PATIENCE_ALL
    hidden = _secret(secrets, changes)
    seen = [change for change in changes if change.path not in hidden]
    diffs = render(past, seen, position - 1, position, kind_words, _PATIENCE_EACH)
    for change in changes:
        if time.monotonic() > deadline:
            raise TimeoutError
        diff = _veiled(change) if change.path in hidden else next(diffs)
        more = words(diff)
        yield f"{change.change} {shown(change.path)}{': ' if more else ''}{more}".encode()
        yield from diff.lines


def _secret(secrets: Sequence[str], changes: Sequence[Change]) -> set[bytes]:
    """The secrets among the paths: what is or was encrypted, and what `[secrets]` names, by this name of a
    file or by another that it is linked to.
    """
    patterns = Ignore(secrets, built_in=False)
    names = {change.path: {change.path, *_links(change)} for change in changes}
    secret = {change.path for change in changes if is_secret(change)}
    secret |= {path for path, known in names.items() if secrets and any(map(patterns.matches, known))}
    links = {link for change in changes if change.path in secret for link in _links(change)}
    return secret | {path for path, known in names.items() if known & links}


def _links(change: Change) -> set[bytes]:
    """What the group of hard links was and is called."""
    return {entry.link for entry in (change.before, change.after) if entry is not None and entry.link}


def _veiled(change: Change) -> FileDiff:
    """What may be told of a secret file."""
    before, after = change.before, change.after
    if before is None or after is None:
        metadata, is_other = [], True
    else:
        metadata, is_other = describe(change.path, before, after, kind_words), not before.same_content(after)
    if is_other and any(entry is not None and entry.has_content for entry in (before, after)):
        metadata.append(_HIDDEN)
    return FileDiff(change, metadata, [], "")
