"""No receiver outlives the test that it stayed ready for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ready


@pytest.fixture(autouse=True)
def no_receiver_stays(tmp_path: Path) -> Iterator[None]:
    yield
    ready.end(tmp_path)
