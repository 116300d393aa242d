"""Builders of test trees: everything a real machine may hold, and the damage people do to it."""

from tests.trees.awkward import build
from tests.trees.wreck import wreck

__all__ = ["build", "wreck"]
