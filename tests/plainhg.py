"""Look into a store with plain Mercurial and no Pacha, as a person without Pacha would.

Always at a copy: Mercurial wants to lock what it verifies, and must not heal what Pacha is to heal.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


class StoreCopy:
    """A copy of a store, to be read by plain `hg`."""

    def __init__(self, store: Path, to: Path) -> None:
        subprocess.run(["rm", "-rf", "--", str(to)], check=True)
        subprocess.run(["cp", "-a", "--", str(store), str(to)], check=True)
        self.path = to

    def hg(self, *args: str, allowed: tuple[int, ...] = (0,)) -> bytes:
        """What a plain hg command says, errors included; raise AssertionError where it fails."""
        environment = {
            "HGRCPATH": "",
            "HGPLAIN": "1",
            "HGENCODING": "UTF-8",
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
        }
        argv = [sys.executable, "-m", "mercurial", "-R", str(self.path), *args]
        done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True)
        assert done.returncode in allowed, f"hg {args}: {done.returncode}: {done.stdout!r} {done.stderr!r}"
        return done.stdout + done.stderr

    def nodes(self) -> list[str]:
        """Full ids of all revisions, oldest first."""
        return self.hg("log", "-r", "all()", "-T", "{node}\n").decode().split()

    def complaints(self) -> list[str]:
        """What `hg verify` has to say against the store."""
        said = self.hg("verify", allowed=(0, 1, 255)).decode(errors="replace")
        words = ("warning", "error", "abort", "damaged", "not in manifest", "missing", "unmatched", "recover")
        return [line for line in said.splitlines() if any(word in line.lower() for word in words)]

    def holds(self, token: bytes) -> bool:
        """Whether any file of any revision, or any message, ever contained `token` (one word of one line).

        An uncompressed bundle spells out each line that a revision adds.
        """
        bundle = self.path / "all.bundle"
        self.hg("bundle", "--all", "--type", "none-v2", str(bundle))
        return token in bundle.read_bytes()
