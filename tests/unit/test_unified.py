"""Unified diffs: the same as Python's own, which is known to be right, and given up when told to."""

from __future__ import annotations

import difflib
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacha.core.unified import GivenUp, hunks

LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"\n", b"c\r\n", b"\xff\n", b"-- x\n"]), max_size=40)


def reference(old: list[bytes], new: list[bytes]) -> list[bytes]:
    sides = ([line.decode("latin-1") for line in side] for side in (old, new))
    return [line.encode("latin-1") for line in difflib.unified_diff(*sides)][2:]


@settings(max_examples=200, deadline=None)
@given(LINES, LINES)
def test_it_is_what_python_says(old: list[bytes], new: list[bytes]) -> None:
    assert list(hunks(old, new)) == reference(old, new)
    assert list(hunks(old, new, lambda: False)) == reference(old, new)


def test_a_large_text_with_few_changes() -> None:
    old = [b"line %d\n" % number for number in range(20_000)]
    new = [b"first\n", *old[:10_000], *old[10_001:]]
    assert list(hunks(old, new)) == reference(old, new)


def test_it_is_given_up_when_it_was_enough() -> None:
    old = [b"line %d\n" % number for number in range(2_000)]
    new = [line if number % 2 else b"other\n" for number, line in enumerate(old)]
    calls = count(1)
    with pytest.raises(GivenUp):
        next(hunks(old, new, lambda: next(calls) > 10))
    assert next(calls) == 12


def test_it_does_not_begin_with_what_one_look_would_not_end() -> None:
    text = [b"%d\n" % (number % 105) for number in range(100_000)]
    with pytest.raises(GivenUp):
        next(hunks(text, text[::-1], lambda: False))
