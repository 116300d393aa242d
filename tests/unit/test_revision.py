"""Revisions: the stamp in each, the date that Mercurial can hold, and text that it can take."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacha.core.revision import Revision, Stamp, clean_author, clean_text, mercurial_date

STAMP = Stamp("web1", "a" * 32, 3, 1_700_000_000_123_456_789, "capture")
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
stamps = st.builds(
    Stamp,
    host=words,
    machine=words,
    seq=st.integers(1, 10**12),
    time_ns=st.integers(-(2**63), 2**63),
    cause=words,
    who=st.lists(st.dictionaries(words, words, max_size=2), max_size=2).map(tuple),
    hooks=st.lists(st.dictionaries(words, words | st.integers(), max_size=2), max_size=2).map(tuple),
    v=st.just(1),
)


def test_the_json_on_the_disk_never_changes() -> None:
    assert STAMP.encode() == (
        b'{"cause":"capture","host":"web1","machine":"%s","seq":3,"time_ns":1700000000123456789,"v":1,"who":[]}'
        % (b"a" * 32)
    )
    hooked = STAMP._replace(hooks=({"name": "x", "exit": 0, "output": "é\n"},))
    assert json.loads(hooked.encode())["hooks"] == [{"name": "x", "exit": 0, "output": "é\n"}]
    assert hooked.encode().isascii()


@settings(max_examples=66, deadline=None)
@given(stamps)
def test_a_stamp_comes_back(stamp: Stamp) -> None:
    assert Stamp.decode(stamp.encode()) == stamp
    assert b"\n" not in stamp.encode()


def test_what_a_later_version_added_is_passed_over() -> None:
    values = {**json.loads(STAMP.encode()), "later": [1], "v": 2}
    assert Stamp.decode(json.dumps(values).encode()) == STAMP._replace(v=2)


@pytest.mark.parametrize("key", ["host", "machine", "seq", "time_ns", "cause", "v"])
@pytest.mark.parametrize("value", [None, [], {}, True, 1.5])
def test_a_stamp_without_what_it_needs_is_refused(key: str, value: object) -> None:
    values = {**json.loads(STAMP.encode()), key: value}
    with pytest.raises(ValueError, match="Pacha"):
        Stamp.decode(json.dumps(values).encode())
    del values[key]
    with pytest.raises(ValueError, match="Pacha"):
        Stamp.decode(json.dumps(values).encode())


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b'"x"', b"\xff", b"[" * 100 + b"]" * 100])
def test_what_is_no_stamp_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Stamp.decode(text)


@pytest.mark.parametrize("key", ["who", "hooks"])
@pytest.mark.parametrize("value", [5, True, "text", {"a": 1}, [5]])
def test_lists_of_a_stamp_are_lists_of_objects(key: str, value: object) -> None:
    values = {**json.loads(STAMP.encode()), key: value}
    with pytest.raises(ValueError, match=r".+"):
        Stamp.decode(json.dumps(values).encode())


@settings(max_examples=60, deadline=None)
@given(stamps, words, words)
def test_a_revision_comes_back_without_its_files(stamp: Stamp, author: str, message: str) -> None:
    revision = Revision(7, "ab" * 20, author, message, stamp, (b"files/x",))
    assert Revision.load(revision.dump()) == revision._replace(files=())
    assert revision.id == "ab" * 6


@pytest.mark.parametrize(
    ("time_ns", "date"),
    [
        (0, 0),
        (1_999_999_999, 1),
        (-1, -1),
        (2**31 * 10**9, 2**31 - 1),
        (2**62, 2**31 - 1),
        (-(2**63), -(2**31)),
    ],
)
def test_dates_are_whole_seconds_within_mercurials_bounds(time_ns: int, date: int) -> None:
    assert mercurial_date(time_ns) == date


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("  two words\n", "two words"),
        ("a\tb\nc", "a\tb\nc"),
        ("bell\x07", "bell\ufffd"),
        ("\x1b[31mred", "\ufffd[31mred"),
        ("a\rb", "a\ufffdb"),
        ("not text \udcff", "not text \ufffd"),
        ("\u202eright to left", "\ufffdright to left"),
        ("caf\u00e9 \N{GRINNING FACE}", "caf\u00e9 \N{GRINNING FACE}"),
        ("", ""),
    ],
)
def test_messages_are_text(text: str, clean: str) -> None:
    assert clean_text(text) == clean


lone = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]), st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
    )
)


@settings(max_examples=100, deadline=None)
@given(lone)
def test_any_argument_becomes_valid_text(text: str) -> None:
    for clean in (clean_text(text), clean_author(text)):
        clean.encode()
        assert all(c in "\n\t" or c.isprintable() for c in clean)
    assert clean_text(clean_text(text)) == clean_text(text)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Jo  <jo@x>\n", "Jo <jo@x>"),
        ("a\nb", "a b"),
        ("", "unknown"),
        (" \t\n", "unknown"),
        ("\n\n", "unknown"),
    ],
)
def test_an_author_is_one_line(text: str, clean: str) -> None:
    assert clean_author(text) == clean


@settings(max_examples=66, deadline=None)
@given(lone)
def test_an_author_is_never_empty_and_never_two_lines(text: str) -> None:
    assert clean_author(text)
    assert "\n" not in clean_author(text)
