"""Servers for the tests of this folder: one for a whole file, and one that a test may stop and break."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.hub import Hub, hub


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A server that all tests of a file share; each has hosts of its own there."""
    with hub(tmp_path_factory.mktemp("hub")) as made:
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Hub]:
    """A server for one test, which may stop it."""
    with hub(tmp_path / "hub") as made:
        yield made
