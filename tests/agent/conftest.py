"""A small live tree, and an agent that watches it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import Agent, running
from tests.command import Pacha
from tests.steps import watch_first


@pytest.fixture
def live(arena: Path) -> Path:
    """A directory with a file, and one with nothing in it."""
    tree = arena / "live"
    (tree / "sub").mkdir(parents=True)
    (tree / "file").write_text("one\n")
    return tree


@pytest.fixture
def agent(pacha: Pacha, live: Path) -> Iterator[Agent]:
    """A running agent, after the first capture."""
    watch_first(pacha, live)
    with running(pacha) as agent:
        yield agent
