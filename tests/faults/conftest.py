"""A place in memory for faults that no disk takes part in: hundreds of rounds there wait for none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oracle.twin import wipe

MEMORY = "/dev/shm"


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder on a tmpfs that takes what the tests' trees have; where there is none, one as any other.

    What is killed leaves there what it leaves on a disk. Only a power cut does not.
    """
    place = _in_memory() or tmp_path
    yield place
    if place != tmp_path:
        wipe(place)


def _in_memory() -> Path | None:
    try:
        place = Path(tempfile.mkdtemp(prefix="pacha-test-", dir=MEMORY))
    except OSError:
        return None
    try:
        os.setxattr(place, "user.pacha", b"")
    except OSError:  # before Linux 6.6
        place.rmdir()
        return None
    return place
