"""What changed between two states of an entry, in the contract's four words and in words for people.

Called by capture, history, diff and the planner. It must not read anything: both states are metadata lines or
entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from pacha.core.entry import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK, Entry, parse_entry
from pacha.core.names import join

ADDED, MODIFIED, REMOVED, METADATA = "added", "modified", "removed", "metadata"

_KIND_WORDS = {
    DIRECTORY: "directory",
    SYMLINK: "symbolic link",
    FIFO: "named pipe",
    BLOCK: "block device",
    CHARACTER: "character device",
}


class Change(NamedTuple):
    """One path and what became of it; the entries before and after, None where there was or is none."""

    path: bytes
    change: str
    before: Entry | None
    after: Entry | None


def is_same(one: bytes | None, other: bytes | None) -> bool:
    """Whether two metadata lines (None: no entry) differ in nothing that counts as a change."""
    if one is None or other is None or one == other:
        return one == other
    return parse_entry(one).essence() == parse_entry(other).essence()


def classify(before: Entry | None, after: Entry | None) -> str:
    """`added`, `removed`, `modified` (kind or content) or `metadata`."""
    if before is None:
        return ADDED
    if after is None:
        return REMOVED
    return METADATA if before.same_content(after) else MODIFIED


def between(
    directory: bytes, old: dict[bytes, bytes], new: dict[bytes, bytes]
) -> list[tuple[bytes, bytes | None, bytes | None]]:
    """(path, old line, new line) of what differs between two states of one directory's lines."""
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return [(join(directory, name), old.get(name), new.get(name)) for name in names]


def merge(differences: Iterable[tuple[bytes, bytes | Entry | None, bytes | Entry | None]]) -> list[Change]:
    """The changes by path, sorted; what was and what is there is a line or an entry.

    A path that became a directory, or was one, has its two lines in two directories' metadata: they are
    brought together here.
    """
    sides: dict[bytes, tuple[bytes | Entry | None, bytes | Entry | None]] = {}
    for path, old, new in differences:
        known = sides.get(path, (None, None))
        sides[path] = known[0] if old is None else old, known[1] if new is None else new
    found = []
    for path in sorted(sides):
        before, after = (parse_entry(side) if isinstance(side, bytes) else side for side in sides.pop(path))
        found.append(Change(path, classify(before, after), before, after))
    return found


def kind_words(kind: bytes) -> str:
    """A kind as a person would say it: `character device`."""
    return _KIND_WORDS.get(kind) or kind.decode()


def describe(
    path: bytes, before: Entry, after: Entry, named: Callable[[bytes], str] = bytes.decode
) -> list[str]:
    """How the metadata of `path` differs, each difference in words: `mode 0644 → 0600`. `named` says how a
    kind is called.
    """
    words = []
    if before.kind != after.kind:
        words.append(f"kind {named(before.kind)} → {named(after.kind)}")
    if before.mode != after.mode and SYMLINK not in (before.kind, after.kind):
        words.append(f"mode {before.mode:04o} → {after.mode:04o}")
    for label, old, new in (
        ("owner", _account(before.user, before.uid), _account(after.user, after.uid)),
        ("group", _account(before.group, before.gid), _account(after.group, after.gid)),
        ("acl", _text(before.acl), _text(after.acl)),
        ("default acl", _text(before.default_acl), _text(after.default_acl)),
        ("flags", _text(before.flags or None), _text(after.flags or None)),
        ("target", _text(before.target), _text(after.target)),
    ):
        if old != new:
            words.append(f"{label} {old} → {new}")
    words.extend(_link_words(path, before.link, after.link))
    for label, old_number, new_number in (("uid", before.uid, after.uid), ("gid", before.gid, after.gid)):
        same_name = (before.user == after.user) if label == "uid" else (before.group == after.group)
        if old_number != new_number and same_name and (before.user if label == "uid" else before.group):
            words.append(f"{label} {old_number} → {new_number}")
    if before.holes != after.holes:
        words.append(f"holes {len(before.holes)} → {len(after.holes)}")
    if before.device != after.device:
        words.append("device number")
    words.extend(_attribute_words(dict(before.xattrs), dict(after.xattrs)))
    words.extend(_secret_words(before, after))
    if before.unstable != after.unstable:
        words.append("unstable: it changed while it was read" if after.unstable else "stable again")
    if not words and before.mtime != after.mtime and before.same_content(after) and before.kind != DIRECTORY:
        words.append("time of last change")
    return words


def _link_words(path: bytes, old: bytes | None, new: bytes | None) -> list[str]:
    """How the file is another that `path` is a name of, in words that suit what was and what shall be done.

    A group of hard links is called by its first name, which may be this one.
    """
    if old == new:
        return []
    if new is None:
        return ["loses its other names" if old == path else f"ceases to be a hard link of {_text(old)}"]
    if new != path:
        return [f"becomes a hard link of {_text(new)}"]
    return ["gets other names" if old is None else f"ceases to be a hard link of {_text(old)}"]


def _secret_words(before: Entry, after: Entry) -> list[str]:
    if (before.secret is None) != (after.secret is None) and before.kind == after.kind == FILE:
        return ["encrypted from here on" if after.secret else "in the clear from here on"]
    is_other = before.sealed is not None and after.sealed is not None and before.sealed != after.sealed
    return ["encrypted for other recipients"] if is_other else []


def summary(entry: Entry, path: bytes = b"") -> str:
    """What an entry is, in a few words: `file 0644 root:root`; of which file `path` is a further name."""
    owner = f"{_account(entry.user, entry.uid)}:{_account(entry.group, entry.gid)}"
    what = entry.kind.decode()
    if entry.kind == SYMLINK:
        return f"{what} → {_text(entry.target)}"
    large = (
        f", {entry.size} bytes, content not stored" if entry.kind == FILE and entry.size is not None else ""
    )
    link = f", a hard link of {_text(entry.link)}" if path and entry.link not in (None, path) else ""
    return f"{what} {entry.mode:04o} {owner}{large}{link}"


def _account(name: bytes, number: int) -> str:
    return name.decode("utf-8", "replace") or str(number)


def _text(value: bytes | None) -> str:
    return "none" if value is None else value.decode("utf-8", "backslashreplace")


def _attribute_words(old: dict[bytes, bytes], new: dict[bytes, bytes]) -> list[str]:
    words = []
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            verb = "changed" if key in old and key in new else "added" if key in new else "removed"
            words.append(f"attribute {_text(key)} {verb}")
    return words
