"""Save an exact copy of a tree outside Pacha's reach, and take trees away that resist removal."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.oracle import probes

KEPT_FLAGS = b"ia"


def save_twin(live: Path, twin: Path) -> None:
    """Copy `live` to `twin` (which must not exist): links, holes, owners, ACLs, xattrs, times, flags.

    The flags come last, deepest entries first, as an immutable directory takes no more entries.
    """
    if twin.exists():
        raise FileExistsError(twin)
    flagged = {path: kept for path, letters in probes.flags(live).items() if (kept := _kept(letters))}
    probes.run(live, "cp", "-a", "--sparse=auto", "--", ".", str(twin))
    for path in sorted(flagged, key=lambda path: -path.count(b"/")):
        probes.run(twin, "chattr", b"+" + flagged[path], "--", path)


def clear_flags(tree: Path) -> None:
    """Take the immutable and append-only flags off everything in `tree`; symlinks are not followed."""
    if os.geteuid() == 0:
        # Status 1 only says that some kinds of entry (symlinks, fifos) have no flags.
        subprocess.run(["chattr", "-R", "-f", "-i", "-a", "--", str(tree)], check=False)


def wipe(tree: Path) -> None:
    """Remove `tree` whatever its flags and modes."""
    if os.path.lexists(tree):
        clear_flags(tree)
        if os.geteuid() != 0:
            subprocess.run(["chmod", "-R", "-f", "u+rwX", "--", str(tree)], check=False)
        subprocess.run(["rm", "-rf", "--", str(tree)], check=True)


def _kept(letters: bytes) -> bytes:
    return bytes(letter for letter in letters if letter in KEPT_FLAGS)
