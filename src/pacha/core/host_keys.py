"""The text of the pinned host keys: known_hosts, with a line above each server's keys that names it.

Called by `join`. Pure: text in, text out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pacha.core.authorized_keys import PublicKey


def keys_in(lines: Iterable[str]) -> list[PublicKey]:
    """The keys of lines of known_hosts."""
    found = []
    for line in lines:
        words = line.split()
        if len(words) >= 3 and not words[0].startswith(("#", "@")):
            found.append(PublicKey(words[1], words[2]))
    return found


def pinned(text: str, destination: str) -> list[PublicKey]:
    """The keys that are pinned for a destination."""
    return keys_in(_section(text.splitlines(), destination))


def with_pins(text: str, destination: str, name: str, keys: Sequence[PublicKey]) -> str:
    """`text` with these keys, and no others, for a destination that known_hosts calls `name`."""
    lines = text.splitlines()
    gone = _section(lines, destination)
    start = _start(lines, destination)
    if start >= 0:
        del lines[start : start + 1 + len(gone)]
    return "\n".join([*lines, f"# {destination}", *(f"{name} {key}" for key in keys), ""])


def _start(lines: Sequence[str], destination: str) -> int:
    return lines.index(f"# {destination}") if f"# {destination}" in lines else -1


def _section(lines: Sequence[str], destination: str) -> list[str]:
    start = _start(lines, destination)
    found: list[str] = []
    for line in lines[start + 1 :] if start >= 0 else ():
        if line.startswith("# "):
            break
        found.append(line)
    return found
