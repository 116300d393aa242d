"""Stores to test with: real ones, and revisions made of plain dictionaries."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pacha.adapters.hg.store import Store
from pacha.core.revision import Stamp
from pacha.core.tracked import Draft

TIME_NS = 1_700_000_000_123_456_789


def draft(contents: Mapping[bytes, bytes | None], seq: int = 1, **more: object) -> Draft:
    """A revision with these contents, None for a path that goes."""
    stamp = Stamp("host", "machine", seq, TIME_NS + seq * 10**9, "capture")
    present = sorted(path for path, data in contents.items() if data is not None)
    removed = sorted(path for path, data in contents.items() if data is None)
    made = Draft("Jo <jo@x>", f"message {seq}", stamp, present, removed, {})
    return made._replace(**more)  # type: ignore[arg-type]


def commit(store: Store, contents: Mapping[bytes, bytes | None], seq: int = 1, **more: object) -> str:
    """Commit them after the tip."""
    return store.commit(draft(contents, seq, **more), store.tip(), lambda path: contents[path] or b"")


def made(path: Path) -> Store:
    """A new store."""
    store = Store(os.fsencode(path))
    store.create()
    return store


def content(store: Store, path: bytes, position: int | None = None) -> bytes | None:
    """The bytes of a store path at a position (default: the tip)."""
    at = next(iter(store.history(limit=1))).position if position is None else position
    files = store.files(at, [path])
    return next(store.contents([(path, files[path])]))


def mercurial_child(parent: int | None = None) -> int:
    """The number of the one Mercurial process of a process (default: this one)."""
    asked = subprocess.run(
        ["pgrep", "-P", str(parent or os.getpid()), "-f", "mercurial serve"], capture_output=True, text=True, check=True
    )  # fmt: skip
    (number,) = asked.stdout.split()
    return int(number)
