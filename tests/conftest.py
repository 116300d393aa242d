"""Fixtures for every test that drives Pacha from outside, or builds trees that resist removal."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Pacha
from tests.oracle.twin import wipe


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Path]:
    """A directory to build trees in, wiped afterwards even of immutable files."""
    place = tmp_path / "arena"
    place.mkdir()
    yield place
    wipe(place)


@pytest.fixture
def open_arena() -> Iterator[Path]:
    """Like `arena`, but reachable by any user: pytest's own folders are closed to others."""
    place = Path(tempfile.mkdtemp(prefix="pacha-test-"))
    os.chmod(place, 0o755)
    yield place
    wipe(place)


@pytest.fixture
def pacha(tmp_path: Path) -> Pacha:
    """A Pacha of its own: state, configuration and home of this test alone."""
    return Pacha.at(tmp_path / "pacha")
