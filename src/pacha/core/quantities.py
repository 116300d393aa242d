"""Sizes, durations and points in time, as people write them and as Pacha counts them.

Called by the configuration (`quiet = "50ms"`), the command line (`--to 2h`) and whatever prints such values.
Sizes are bytes, durations and times are integer nanoseconds; floats never enter, so that "10MB" means exactly
10 000 000. The clock is never read here: whoever asks for an age says what time it is now.
"""

from __future__ import annotations

from pacha.core.errors import UsageError

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY

SIZE_UNITS = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
DURATION_UNITS = {
    "ms": SECOND // 1000,
    "s": SECOND,
    "m": MINUTE,
    "h": HOUR,
    "d": DAY,
    "w": WEEK,
}
SIZE_WORDS = 'a whole number with a unit: "500KB", "10MB", "2GB", or KiB MiB GiB'
DURATION_WORDS = 'a whole number with a unit: "50ms", "2s", "15m", "1h", "3d", "2w"'
WHEN_WORDS = (
    'an ISO time such as "2026-03-01", "2026-03-01 14:30" or "2026-03-01T14:30:00Z", '
    'or an age such as "2h" or "3d"'
)

# SQLite, the kernel and every other consumer keep these in a signed 64-bit integer.
_LARGEST = 2**63 - 1
_DIGITS = "0123456789"


def parse_size(text: str | int) -> int:
    """Return bytes of "10MB" (units in any case, a space allowed) or a plain number. UsageError else."""
    size: int | None = None
    if isinstance(text, int) and not isinstance(text, bool):
        size = text
    elif isinstance(text, str):
        number, unit = _split(text)
        factor = {name.lower(): factor for name, factor in SIZE_UNITS.items()}.get(unit.lower() or "b")
        size = number * factor if number is not None and factor is not None else None
    if size is not None and 0 <= size <= _LARGEST:
        return size
    raise UsageError(f"{text!r} is not a size", hint=f"allowed is {SIZE_WORDS}")


def format_size(size: int) -> str:
    """Return the shortest exact way to write `size`, which `parse_size` reads back: 10000000 is "10MB"."""
    best = f"{size}B"
    for name, factor in SIZE_UNITS.items():
        if size and size % factor == 0 and len(f"{size // factor}{name}") < len(best):
            best = f"{size // factor}{name}"
    return best


def about_size(size: int) -> str:
    """Word a size for people, rounded to two or three digits in decimal units: "1.4 MB", "37 KB", "12 B"."""
    value, unit = size, 1
    names = ("B", "KB", "MB", "GB", "TB")
    step = 0
    while value >= 1000 * unit and step < len(names) - 1:
        unit *= 1000
        step += 1
    if step == 0:
        return f"{size} B"
    tenths = (value * 10 + unit // 2) // unit
    if tenths < 100:
        return f"{tenths // 10}.{tenths % 10} {names[step]}"
    whole = (value + unit // 2) // unit
    if whole == 1000 and step < len(names) - 1:
        return f"1.0 {names[step + 1]}"
    return f"{whole} {names[step]}"


def parse_duration(text: str) -> int:
    """Return nanoseconds of "50ms", "2s", "15m", "1h", "3d" or "2w". UsageError otherwise."""
    duration = _duration(text)
    if duration is None:
        raise UsageError(f"{text!r} is not a duration", hint=f"allowed is {DURATION_WORDS}")
    return duration


def format_duration(duration_ns: int) -> str:
    """Exactly, in the largest unit that allows it, as `parse_duration` reads it; rounded up to whole ms."""
    best = f"{-(-duration_ns // DURATION_UNITS['ms'])}ms"
    for name, factor in DURATION_UNITS.items():
        if duration_ns and duration_ns % factor == 0:
            best = f"{duration_ns // factor}{name}"
    return best


def about_duration(duration_ns: int) -> str:
    """Word a duration for people in one unit, rounded down: "3 days", "1 hour", "45 seconds", "20 ms"."""
    for factor, word in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (SECOND, "second")):
        count = duration_ns // factor
        if count >= 1:
            return f"{count} {word}" if count == 1 else f"{count} {word}s"
    return f"{max(duration_ns, 0) // DURATION_UNITS['ms']} ms"


def parse_when(text: str, now_ns: int) -> int:
    """Return nanoseconds since the epoch of an ISO 8601 time, or of an age before `now_ns`.

    A time without a zone is local time; a date alone is its first instant. UsageError says what is allowed,
    or that the time is in the future.
    """
    age = _duration(text)
    if age is not None:
        return now_ns - age
    when = _iso_ns(text.strip().upper())
    if when is None:
        raise UsageError(f"{text!r} is not a time", hint=f"allowed is {WHEN_WORDS}")
    if when > now_ns:
        raise UsageError(
            f"{text!r} is in the future", hint=f"allowed is a time up to now, {format_when(now_ns)}"
        )
    return when


def looks_like_when(text: str) -> bool:
    """Return True if `parse_when` would understand `text`, were it in the future or not.

    An age such as "3d" may at the same time be the beginning of a revision id; an ISO time never is.
    """
    return _duration(text) is not None or _iso_ns(text.strip().upper()) is not None


def format_when(when_ns: int) -> str:
    """Local time to the second with its zone, as `parse_when` reads it: "2026-03-01T14:30:00+01:00"."""
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(when_ns // SECOND, UTC).astimezone().isoformat()
    except (OverflowError, ValueError, OSError):
        # Beyond year 9999, as a wrong clock or a damaged file may say.
        return f"@{when_ns // SECOND}"


def _split(text: str) -> tuple[int | None, str]:
    """Leading ASCII digits as a number (None where there are none, or absurdly many), and the unit behind."""
    body = text.strip()
    unit = body.lstrip(_DIGITS)
    digits = body[: len(body) - len(unit)]
    if not 1 <= len(digits) <= 19:
        return None, unit
    return int(digits), unit.strip()


def _duration(text: str) -> int | None:
    number, unit = _split(text)
    factor = DURATION_UNITS.get(unit)
    if number is None or factor is None:
        return None
    return number * factor if number * factor <= _LARGEST else None


def _iso_ns(text: str) -> int | None:
    """Return the time that ISO `text` (upper case) names, or None; "20260301" may be a revision."""
    from datetime import datetime

    # A fraction is cut off and counted here, since datetime knows microseconds only.
    head, dot, tail = text.replace(",", ".").partition(".")
    rest = tail.lstrip(_DIGITS)
    digits = tail[: len(tail) - len(rest)]
    if (
        len(head) < 10
        or head[4] != "-"
        or (dot and (":" not in head or not 1 <= len(digits) <= 9))
        or "." in rest
    ):
        return None
    try:
        seconds = datetime.fromisoformat(head + rest).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return int(seconds) * SECOND + int((digits or "0").ljust(9, "0"))


def about_age(then_ns: int, now_ns: int) -> str:
    """`2 minutes ago`, for people."""
    return "just now" if now_ns - then_ns < 1_000_000_000 else f"{about_duration(now_ns - then_ns)} ago"


def time_name(time_ns: int) -> str:
    """A name for what began at that time: such names sort as the times do, and are easy to type."""
    return f"{time_ns // 1_000_000:x}"
