"""What a revision is made of: for each store path the new content, the new text, or that it goes.

Called by `ops/capture`, which has found out what changed. It reads the index, and the store for the
recipients of secrets; it commits nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pacha.core.entry import Entry, parse_entry, render_directory, render_entry
from pacha.core.names import content_path, meta_directory, meta_path
from pacha.core.revision import Revision
from pacha.core.rules import RULES
from pacha.core.tracked import Blob
from pacha.ops.host import Host
from pacha.ops.scan import Finding
from pacha.ops.secrets import recipients_to_store

# `{path: (entry, file hash)}` of contents that the store already has under that path.
Known = Mapping[bytes, tuple[Entry, bytes]]


def stored_already(changed: Sequence[Finding], known: Known) -> dict[bytes, bytes]:
    """`{store path: file hash}` of the contents among these that are as `known`."""
    return {
        content_path(finding.path): known[finding.path][1]
        for finding in changed
        if finding.data and finding.path in known and _is_stored_as(finding.entry, known[finding.path][0])
    }


def _is_stored_as(entry: Entry | None, known: Entry) -> bool:
    return entry is not None and (entry.digest, entry.sealed) == (known.digest, known.sealed)


def contents_of(changed: Sequence[Finding]) -> tuple[dict[bytes, Blob], list[bytes]]:
    """(blobs by store path of contents that are new, store paths of contents that go)."""
    contents: dict[bytes, Blob] = {}
    removed = []
    for finding in changed:
        had = finding.row is not None and parse_entry(finding.row.line).has_content
        has = finding.entry is not None and finding.entry.has_content
        if has and finding.data is not None:
            contents[content_path(finding.path)] = finding.data
        elif had and not has:
            removed.append(content_path(finding.path))
    return contents, [path for path in removed if path not in contents]


def fact_texts(
    host: Host, changed: Sequence[Finding], last: Revision | None, rules: bytes
) -> dict[bytes, bytes]:
    """The rules and the recipients of secrets where they are to be stored anew; empty `rules` never are."""
    texts = {}
    if rules and host.index.get("rules") != rules:
        texts[RULES] = rules
    if any(finding.entry is not None and finding.entry.sealed for finding in changed):
        texts.update(recipients_to_store(host, last))
    return texts


def directory_texts(host: Host, changed: Sequence[Finding]) -> dict[bytes, bytes]:
    """The new text of each directory's metadata that changes, empty where nothing is left of it."""
    texts = {}
    by_directory: dict[bytes, list[Finding]] = {}
    for finding in changed:
        by_directory.setdefault(finding.directory, []).append(finding)
    for directory, findings in by_directory.items():
        lines = {name: row.line for name, row in host.index.rows(directory).items()}
        for finding in findings:
            if finding.entry is None:
                lines.pop(finding.name, None)
            else:
                lines[finding.name] = render_entry(finding.entry)
        texts[meta_path(directory)] = render_directory(lines)
    return texts


def sizes_of(
    contents: Mapping[bytes, Blob], texts: Mapping[bytes, bytes], removed: Iterable[bytes]
) -> dict[bytes, int | None]:
    """The length of what each store path is to have, None for one that goes."""
    sizes: dict[bytes, int | None] = {path: blob.length for path, blob in contents.items()}
    sizes.update((path, len(text) or None) for path, text in texts.items())
    sizes.update(dict.fromkeys(removed))
    return sizes


def lookup(host: Host, texts: dict[bytes, bytes]) -> Any:
    """What admission sees of the line: the new texts, else what the index has of a directory."""

    def text_of(path: bytes) -> bytes | None:
        if path in texts:
            return texts[path] or None
        rows = host.index.rows(meta_directory(path))
        return render_directory({name: row.line for name, row in rows.items()}) or None

    return text_of
