"""The pace of restless files: the twenty-first capture of an hour, the ten minutes, the quiet hour, wrong clocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacha.core.pace import (
    HOUR_NS,
    INTERVAL_NS,
    MOST_AN_HOUR,
    Pace,
    due,
    due_at,
    is_paced,
    note,
    parse,
    render,
)

START = 1_780_000_000_000_000_000
SECOND = 1_000_000_000


def captured(times: list[int]) -> Pace | None:
    pace: Pace | None = None
    for when in times:
        pace = note(pace, when)
    return pace


def restless_at(when: int) -> Pace:
    pace = captured([when - at * SECOND for at in range(MOST_AN_HOUR, -1, -1)])
    assert pace is not None
    return pace


def test_a_file_never_seen_is_due() -> None:
    assert due(None, START)
    assert not is_paced(None, START)


def test_twenty_captures_an_hour_are_not_too_many() -> None:
    pace = captured([START + at * SECOND for at in range(20)])
    assert due(pace, START + 20 * SECOND)
    assert not is_paced(pace, START + 20 * SECOND)


def test_after_the_twenty_first_it_waits_ten_minutes() -> None:
    pace = restless_at(START)
    assert is_paced(pace, START)
    assert not due(pace, START + 1)
    assert not due(pace, START + INTERVAL_NS - 1)
    assert due(pace, START + INTERVAL_NS)
    assert due_at(pace, START + 1) == START + INTERVAL_NS


def test_twenty_one_captures_over_more_than_an_hour_are_fine() -> None:
    pace = captured([START + at * (HOUR_NS // 20) for at in range(100)])
    assert not is_paced(pace, START + 5 * HOUR_NS)


def test_it_stays_paced_while_changes_are_captured_and_ends_after_an_hour_without() -> None:
    pace, now = restless_at(START), START
    for _ in range(30):
        now += INTERVAL_NS
        assert due(pace, now)
        pace = note(pace, now)
        assert is_paced(pace, now)
    assert is_paced(pace, now + HOUR_NS - 1)
    assert not is_paced(pace, now + HOUR_NS)
    assert note(pace, now + HOUR_NS) == Pace(now + HOUR_NS, False, (now + HOUR_NS,))


@given(st.integers(0, 10 * 365 * 24 * HOUR_NS))
def test_a_clock_set_back_blocks_nothing(back: int) -> None:
    pace, now = restless_at(START), START - back - 1
    assert due(pace, now)
    assert due_at(note(pace, now), now) - now <= INTERVAL_NS


@given(st.lists(st.integers(-2 * HOUR_NS, 2 * HOUR_NS), max_size=60), st.integers(-HOUR_NS, HOUR_NS))
def test_nothing_waits_longer_than_ten_minutes_and_everything_reads_back(steps: list[int], last: int) -> None:
    now, pace = START, None
    for step in steps:
        now += step // 40
        assert due_at(pace, now) - now <= INTERVAL_NS
        assert due(pace, now) == (due_at(pace, now) == now)
        pace = note(pace, now)
        assert parse(render(pace)) == pace
        assert len(pace.recent) <= MOST_AN_HOUR
    assert due_at(pace, now + last) - (now + last) <= INTERVAL_NS


@pytest.mark.parametrize("text", ["", "x", "restless", "restless 1 2", "1 x", "1.5"])
def test_a_text_of_somebody_else_is_no_history(text: str) -> None:
    assert parse(text) is None
