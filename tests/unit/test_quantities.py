"""Quantities: exact values, words for what is wrong, and that whatever is written can be read back."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacha.core.errors import UsageError
from pacha.core.quantities import (
    DAY,
    DURATION_UNITS,
    HOUR,
    SECOND,
    WEEK,
    about_duration,
    about_size,
    format_duration,
    format_size,
    format_when,
    looks_like_when,
    parse_duration,
    parse_size,
    parse_when,
)

NOW = 1_780_000_000 * SECOND


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10MB", 10_000_000),
        ("10 mb", 10_000_000),
        ("500KB", 500_000),
        ("2GB", 2_000_000_000),
        ("1TB", 10**12),
        ("1KiB", 1024),
        ("3MiB", 3 * 1024**2),
        ("1GiB", 1024**3),
        ("7B", 7),
        ("0", 0),
        ("123", 123),
        (123, 123),
        (0, 0),
    ],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "MB", "1.5MB", "-1MB", "1Mb it", "1 M B", -1, True, "١MB", "9999999999TB", "1" * 5000, 2**63, "+1"],
)
def test_no_sizes(text: str | int) -> None:
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert "MiB" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("50ms", 50_000_000),
        ("2s", 2 * SECOND),
        ("15m", 900 * SECOND),
        ("1h", HOUR),
        ("3d", 3 * DAY),
        ("2w", 2 * WEEK),
    ],
)
def test_durations(text: str, duration: int) -> None:
    assert parse_duration(text) == duration
    assert format_duration(duration) == text


@pytest.mark.parametrize(
    "text", ["", "5", "5 minutes", "1.5h", "-1h", "1M", "1y", "99999999999999999w", "٣d"]
)
def test_no_durations(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)
    assert "15m" in caught.value.hint


@settings(deadline=None)  # the first call imports and compiles
@given(st.integers(0, 2**63 - 1))
def test_a_size_reads_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@settings(deadline=None)  # the first call imports and compiles
@given(st.integers(0, 10**4), st.sampled_from(sorted(DURATION_UNITS)))
def test_a_duration_reads_back(count: int, unit: str) -> None:
    duration = parse_duration(f"{count}{unit}")
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (1_449_999, "1.4 MB"),
        (9_960_000, "10 MB"),
        (37_400, "37 KB"),
        (999_999, "1.0 MB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_sizes_for_people(size: int, words: str) -> None:
    assert about_size(size) == words


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (0, "0 ms"),
        (20_000_000, "20 ms"),
        (SECOND, "1 second"),
        (3 * DAY + HOUR, "3 days"),
        (90 * 60 * SECOND, "1 hour"),
    ],
)
def test_durations_for_people(duration: int, words: str) -> None:
    assert about_duration(duration) == words


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2h", NOW - 2 * HOUR),
        ("3d", NOW - 3 * DAY),
        ("0s", NOW),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:01z", SECOND),
        ("1969-12-31T23:59:59.5Z", -SECOND // 2),
        ("2026-03-01T14:30:00+02:00", 1_772_368_200 * SECOND),
        ("2026-03-01 14:30+02:00", 1_772_368_200 * SECOND),
        ("2026-03-01T12:30:00.123456789Z", 1_772_368_200 * SECOND + 123_456_789),
        ("2026-03-01T12:30:00,5Z", 1_772_368_200 * SECOND + SECOND // 2),
        (" 2026-03-01T12Z ", 1_772_366_400 * SECOND),
    ],
)
def test_times(text: str, when: int) -> None:
    assert parse_when(text, NOW) == when
    assert looks_like_when(text)


def test_a_time_without_a_zone_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert parse_when("2026-01-01", NOW) == parse_when("2025-12-31T23:00:00Z", NOW)
        assert parse_when("2025-07-01 12:00", NOW) == parse_when("2025-07-01T10:00Z", NOW)
        assert format_when(0) == "1970-01-01T01:00:00+01:00"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20260301",
        "deadbeef",
        "yesterday",
        "2026-13-01",
        "2026-02-30",
        "2026-03",
        "2026-03-01T25:00",
        "2026-03-01.5",
        "2026-03-01T12:00:00.1234567890Z",
        "2026-03-01T12:00:00.Z",
        "12:30",
        "3",
        "2026-03-01T12:00:00.5.5Z",
        "-3d",
    ],
)
def test_no_times(text: str) -> None:
    assert not looks_like_when(text)
    with pytest.raises(UsageError) as caught:
        parse_when(text, NOW)
    assert "ISO time" in caught.value.hint


def test_a_time_in_the_future_is_refused() -> None:
    with pytest.raises(UsageError, match="is in the future"):
        parse_when("2999-01-01", NOW)
    assert looks_like_when("2999-01-01")


@settings(deadline=None)  # the first call imports and compiles
@given(st.integers(-(2**40), NOW // SECOND))
def test_a_time_reads_back(seconds: int) -> None:
    if seconds > -62_000_000_000:
        assert parse_when(format_when(seconds * SECOND), NOW) == seconds * SECOND


@settings(deadline=None)  # the first call imports and compiles
@given(st.text(max_size=40))
def test_no_text_gets_anything_but_an_answer_or_a_usage_error(text: str) -> None:
    for parse in (parse_size, parse_duration, lambda text: parse_when(text, NOW)):
        with contextlib.suppress(UsageError):
            assert isinstance(parse(text), int)


def test_a_year_that_no_calendar_has_is_still_printable() -> None:
    assert format_when(2**70) == f"@{2**70 // SECOND}"
