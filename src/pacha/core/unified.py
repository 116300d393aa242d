"""The hunks of a unified diff, as `diff -u` has them, which may be given up: with thousands of scattered
changes comparing takes minutes.

Called by `ops/diff`. It must not know files or clocks: the caller says when it has waited long enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher

_CONTEXT = 3  # lines around a change
_MOST_PAIRS = 10_000_000  # of equal lines: looking at them once takes about two seconds


class GivenUp(Exception):
    """Comparing would take, or has taken, too long."""


def hunks(
    old: Sequence[bytes], new: Sequence[bytes], is_enough: Callable[[], bool] | None = None
) -> Iterator[bytes]:
    """The lines of the hunks; those of the texts as they were given, with their newlines.

    Raise GivenUp, before the first line, as soon as `is_enough` says so.
    """
    for group in _Matcher(old, new, is_enough).get_grouped_opcodes(_CONTEXT):
        first, last = group[0], group[-1]
        yield b"@@ -%s +%s @@\n" % (_range(first[1], last[2]), _range(first[3], last[4]))
        for tag, old_start, old_end, new_start, new_end in group:
            if tag == "equal":
                yield from (b" " + line for line in old[old_start:old_end])
                continue
            yield from (b"-" + line for line in old[old_start:old_end])
            yield from (b"+" + line for line in new[new_start:new_end])


def _range(start: int, end: int) -> bytes:
    """Where a hunk begins, counted from 1 (an empty one: the line before), and its length if not 1."""
    length = end - start
    return b"%d" % (start + 1) if length == 1 else b"%d,%d" % (start + 1 if length else start, length)


class _Matcher(SequenceMatcher[bytes]):
    """Asks, before each of its searches, whether to go on."""

    b2j: dict[bytes, list[int]]  # where in the new text a line is

    def __init__(
        self, old: Sequence[bytes], new: Sequence[bytes], is_enough: Callable[[], bool] | None
    ) -> None:
        super().__init__(None, old, new)
        self._is_enough = is_enough
        if is_enough is not None and sum(len(self.b2j.get(line, ())) for line in old) > _MOST_PAIRS:
            raise GivenUp

    def find_longest_match(self, *span: int | None) -> tuple[int, int, int]:  # type: ignore[override]
        if self._is_enough is not None and self._is_enough():
            raise GivenUp
        return super().find_longest_match(*span)  # type: ignore[arg-type]
