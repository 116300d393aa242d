"""Is the last revision what lies in the tree? Told without Pacha's own comparison.

The tree is brought back from a copy of the store into an empty root elsewhere, and judged there by the
independent oracle; every content is besides read by plain hg.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from tests.command import Pacha
from tests.oracle import compare, wipe
from tests.plainhg import StoreCopy
from tests.steps import newest


def differences(pacha: Pacha, tree: Path, place: Path) -> list[str]:
    """What the last revision has otherwise than `tree`; `place` is made and removed."""
    place.mkdir()
    try:
        return [*_contents(pacha, tree, place), *compare(_brought_back(pacha, tree, place), tree)]
    finally:
        wipe(place)


def _brought_back(pacha: Pacha, tree: Path, place: Path) -> Path:
    other = Pacha.at(place / "pacha")
    subprocess.run(["cp", "-a", f"{pacha.state}/.", str(other.state)], check=True)
    root = place / "root"
    there = root / tree.relative_to("/")
    there.parent.mkdir(parents=True)
    other.config.write_text(f'watch = ["{tree}"]\nroot = "{root}"\n')
    other.ok("rollback", tree, "--to", newest(pacha), "-y")
    return there


def _contents(pacha: Pacha, tree: Path, place: Path) -> list[str]:
    """By hg alone; the names must be such as the store keeps as they are."""
    archive = place / "archive"
    StoreCopy(pacha.store, place / "copy").hg("archive", "-r", "tip", str(archive))
    kept, live = _digests(archive / "files" / tree.relative_to("/")), _digests(tree)
    return [
        f"hg: {path}: is {live.get(path)}, stored {kept.get(path)}"
        for path in sorted(kept.keys() | live.keys())
        if kept.get(path) != live.get(path)
    ]


def _digests(tree: Path) -> dict[str, str]:
    found = {}
    for folder, _, names in os.walk(tree):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                found[str(path.relative_to(tree))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
