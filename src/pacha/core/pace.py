"""How often a restless file is captured: one that changes all the time must not fill the history.

A file that was captured more than 20 times within an hour is captured every 10 minutes from then on, until no
change of it was captured for an hour. Called by capture, which asks `due` before and tells `note` afterwards,
and by status, which asks `is_paced`; the index keeps each Pace as text. It must not read the clock: times are
handed in, in nanoseconds since the epoch. A clock set back holds nothing up: what was noted later than now is
due.
"""

from __future__ import annotations

from typing import NamedTuple

HOUR_NS = 3_600_000_000_000
INTERVAL_NS = 600_000_000_000
MOST_AN_HOUR = 20


class Pace(NamedTuple):
    """What is remembered of one file: when it was last captured, and whether too often by then.

    `recent` are the captures of the hour before `last_ns` and itself, oldest first; empty once `restless`.
    """

    last_ns: int
    restless: bool
    recent: tuple[int, ...]


def note(pace: Pace | None, now_ns: int) -> Pace:
    """Return the history after a change was captured at `now_ns`."""
    if is_paced(pace, now_ns):
        return Pace(now_ns, True, ())
    before = pace.recent if pace else ()
    recent = (*(when for when in before if 0 <= now_ns - when < HOUR_NS), now_ns)
    if len(recent) > MOST_AN_HOUR:
        return Pace(now_ns, True, ())
    return Pace(now_ns, False, recent)


def due(pace: Pace | None, now_ns: int) -> bool:
    """Return True if a change seen at `now_ns` is to be captured now."""
    return due_at(pace, now_ns) <= now_ns


def due_at(pace: Pace | None, now_ns: int) -> int:
    """Return when a change seen at `now_ns` is to be captured: at once, or up to 10 minutes later."""
    if pace is None or not is_paced(pace, now_ns) or now_ns < pace.last_ns:
        return now_ns
    return max(now_ns, pace.last_ns + INTERVAL_NS)


def is_paced(pace: Pace | None, now_ns: int) -> bool:
    """Return True if the file is captured every 10 minutes only."""
    return pace is not None and pace.restless and abs(now_ns - pace.last_ns) < HOUR_NS


def render(pace: Pace) -> str:
    """Return the text that `parse` reads: `restless LAST`, or the recent times with spaces between."""
    return f"restless {pace.last_ns}" if pace.restless else " ".join(str(when) for when in pace.recent)


def parse(text: str) -> Pace | None:
    """Return what `render` wrote; None for anything else, since the index is but a cache."""
    words = text.split()
    restless = words[:1] == ["restless"]
    try:
        times = tuple(int(word) for word in words[restless:])
    except ValueError:
        return None
    if not times or (restless and len(times) > 1):
        return None
    return Pace(times[-1], restless, () if restless else times)
