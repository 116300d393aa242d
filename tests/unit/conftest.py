"""What the tests of several units need."""

from __future__ import annotations

import pytest
from tests.said import Said


@pytest.fixture
def said() -> Said:
    """A log of this test's own."""
    return Said()
