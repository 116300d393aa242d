"""What Pacha has acknowledged, kept where no fault of the test can reach it."""

from __future__ import annotations

import os
from pathlib import Path

from tests.command import Pacha, Result
from tests.plainhg import StoreCopy


class Ledger:
    """Acknowledged revisions, each on the disk before the test goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()

    def note(self, result: Result) -> str | None:
        """Write down what this command acknowledged, if it did."""
        if result.revision:
            with open(self.path, "a") as file:
                file.write(f"{result.revision}\n")
                file.flush()
                os.fsync(file.fileno())
        return result.revision

    def revisions(self) -> list[str]:
        """All that was acknowledged, in order."""
        return self.path.read_text().split()

    def lost(self, copy: StoreCopy) -> list[str]:
        """Acknowledged revisions that the store does not hold."""
        nodes = copy.nodes()
        return [
            revision for revision in self.revisions() if not any(node.startswith(revision) for node in nodes)
        ]

    def check(self, pacha: Pacha, to: Path) -> None:
        """Assert by plain hg, on a copy made at `to`, that all is there and the store is whole."""
        copy = StoreCopy(pacha.store, to)
        assert self.lost(copy) == []
        complaints = copy.complaints()
        assert not complaints, "\n".join(complaints)
