"""How much of each fault test runs: a share in CI, the whole range with `-m soak`."""

from __future__ import annotations

import os

import pytest

DAY = 86_400


def shares(ci: int, soak: int) -> list[object]:
    """Parameters for a test that takes a count."""
    whole = pytest.param(soak, id="soak", marks=[pytest.mark.soak, pytest.mark.timeout(DAY)])
    return [pytest.param(ci, id="ci"), whole]


def points_in_ci(usual: int) -> int:
    """How many points of a systematic pass to strike in CI; `PACHA_FAULT_POINTS` overrides, 0 means all."""
    return int(os.environ.get("PACHA_FAULT_POINTS", usual))
