"""Volatile lines: two contents come to the same if, and only if, they differ in dropped lines alone."""

from __future__ import annotations

import re
import time
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacha.core.normalize import (
    LARGEST,
    LONGEST,
    Normalize,
    Table,
    compiled,
    kept,
    normal_digest,
    rules_digest,
)

DROPS = ("^# generated at ", r"serial = \d+")
# Lines of any bytes, of text, and such as begin, hold or nearly hold what is dropped.
_pieces = st.sampled_from(
    (b"# generated at ", b"serial = 7", b"serial = ", b"a", b"b = 1", b"\r", b"\xff", b"\xc3\xa9", b" ", b"\xc2\x85", b"\x0b")
)  # fmt: skip
lines = st.one_of(
    st.lists(_pieces, max_size=4).map(b"".join),
    st.binary(max_size=12).map(lambda data: data.translate(None, b"\n\0")),
)
ends = st.booleans()


def is_dropped(line: bytes) -> bool:
    """The same decision, made over bytes: the expressions above are ASCII."""
    line = line.removesuffix(b"\r")
    return line.startswith(b"# generated at ") or re.search(rb"serial = [0-9]", line) is not None


def content(parts: list[bytes], end: bool) -> bytes:
    """A file of these lines, with or without a newline at its end."""
    return b"\n".join(parts) + (b"\n" if parts and end else b"")


def split(data: bytes) -> list[bytes]:
    """Lines with their newlines, as the contents of a file are."""
    return re.findall(rb"[^\n]*\n|[^\n]+", data)


@given(st.lists(lines, max_size=8), ends, st.lists(lines, max_size=8), ends)
def test_the_same_if_and_only_if_dropped_lines_alone_differ(
    one: list[bytes], one_end: bool, other: list[bytes], other_end: bool
) -> None:
    a, b = content(one, one_end), content(other, other_end)
    counting = [[line for line in split(data) if not is_dropped(line.removesuffix(b"\n"))] for data in (a, b)]
    assert (normal_digest(a, DROPS) == normal_digest(b, DROPS)) == (counting[0] == counting[1])
    assert [split(kept(a, DROPS) or b""), split(kept(b, DROPS) or b"")] == counting


@given(st.data(), st.lists(lines, max_size=8))
def test_lines_that_come_go_and_change_make_no_difference(data: st.DataObject, parts: list[bytes]) -> None:
    volatile = st.sampled_from((b"# generated at noon", b"x serial = 12", b"# generated at \xff\r"))
    other = []
    for line in parts:
        other += data.draw(st.lists(volatile, max_size=2))
        if not is_dropped(line):
            other.append(line)
    other += data.draw(st.lists(volatile, max_size=1))
    assert kept(content(parts, True), DROPS) == kept(content(other, True), DROPS)


@given(st.lists(lines, min_size=1, max_size=6), st.integers(0, 5), lines)
def test_any_other_line_counts(parts: list[bytes], at: int, line: bytes) -> None:
    changed = [*parts]
    changed[at % len(parts)] = line
    counts = [line for line in parts if not is_dropped(line)] != [
        one for one in changed if not is_dropped(one)
    ]
    assert (kept(content(parts, True), DROPS) != kept(content(changed, True), DROPS)) == counts


@given(st.binary(max_size=60), st.lists(st.sampled_from((*DROPS, "a", "[^a]", "é", r"\s$")), max_size=3))
def test_what_is_left_is_left_again(data: bytes, drops: list[str]) -> None:
    left = kept(data, drops)
    assert (left is None) == (b"\0" in data)
    if left is not None:
        assert kept(left, drops) == left
        assert kept(data, [*drops, *drops[::-1]]) == left
        assert left == data or drops


@pytest.mark.parametrize(
    ("expression", "line", "found"),
    [
        ("^a", b"ab", True),
        ("^b", b"ab", False),
        ("b$", b"ab\r", True),
        ("^$", b"", True),
        ("^$", b"\r", True),
        ("^é.$", b"\xc3\xa9\xc3\xa9", True),
        ("^.$", b"\xff", True),
        ("^..$", b"\xff\xfe", True),
        ("(?i)SERIAL", b"serial", True),
        (r"(a)\1", b"aa", True),
        ("a.c", b"a\nc", False),
    ],
)
def test_what_an_expression_is_searched_in(expression: str, line: bytes, found: bool) -> None:
    assert (kept(line + b"\n", [expression]) == b"") == found


def test_no_line_follows_the_last_newline() -> None:
    assert kept(b"", ["^$"]) == b""
    assert kept(b"a\n", ["^$"]) == b"a\n"
    assert kept(b"a\n\n", ["^$"]) == b"a\n"
    assert kept(b"a", ["^$"]) == b"a"


def test_nothing_is_dropped_from_what_is_binary_or_too_large() -> None:
    assert kept(b"serial = 1\n\0", DROPS) is None
    assert kept(b"a" * LARGEST, DROPS) == b"a" * LARGEST
    assert kept(b"a" * (LARGEST + 1), DROPS) is None
    assert normal_digest(b"\0", DROPS) is None


def test_no_line_that_is_too_long_is_dropped() -> None:
    for width, dropped in ((LONGEST, True), (LONGEST + 1, False)):
        line = b"serial = 1".ljust(width, b"x")
        assert (kept(line + b"\n", DROPS) == b"") == dropped


def test_an_expression_that_takes_the_square_does_not_hang() -> None:
    started = time.monotonic()
    assert kept(b"a" * LARGEST, ["(.*x)", r"\w+ = .*x"]) is not None
    kept((b"a" * LONGEST + b"\n") * 20, ["(.*x)", r"\w+ = .*x"])
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("(", "unterminated subpattern"),
        ("a{2,1}", "min repeat"),
        ("*", "nothing to repeat"),
        ("[[:digit:]]", "nested set"),
        ("x(?i)", "not at the start"),
        ("", "every line"),
        pytest.param("(" * 5000, "not a regular expression", id="deep"),
        ("a{99999999999}", "too large"),
    ],
)
def test_what_is_no_expression(expression: str, words: str) -> None:
    with warnings.catch_warnings(), pytest.raises(ValueError, match=words):
        warnings.simplefilter("error")
        compiled(expression)


def test_tables_that_match_one_path_add_up() -> None:
    rules = Normalize([Table(("/etc/a", "/etc/b/**"), ("x", "y")), Table(("*.conf", "/etc/a"), ("z", "x"))])
    assert rules.drops(b"/etc/a") == ("x", "y", "z")
    assert rules.drops(b"/etc/b/c/d") == ("x", "y")
    assert rules.drops(b"/srv/b.conf") == ("x", "z")
    assert rules.drops(b"/etc/b") == rules.drops(b"/etc/a.conf~") == ()
    assert rules
    assert not Normalize()
    assert Normalize([Table(("*~",), ("x",))]).drops(b"/etc/a~") == ("x",)


def test_the_digest_of_rules_tells_sets_apart() -> None:
    assert rules_digest(["a", "b"]) == rules_digest(["b", "a"])
    assert (
        len({rules_digest(drops) for drops in ([], ["a"], ["b"], ["a", "b"], ["ab"], ["a\0b"[:1], "b", "c"])})
        == 6
    )
