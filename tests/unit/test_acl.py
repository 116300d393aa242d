"""Access control lists: the kernel's bytes and the words of a metadata line say the same."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacha.core.acl import to_binary, to_words

NONE = 0xFFFFFFFF
USERS = {0: b"root", 1001: b"alice", 1002: b"DOMAIN\\jo do", 1003: b"100%\t"}


def binary(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def name(number: int) -> bytes:
    return USERS.get(number, b"")


def keep(_: bytes, stored: int) -> int:
    return stored


FULL = binary((1, 6, NONE), (2, 4, 1001), (2, 7, 77), (4, 4, NONE), (8, 5, 0), (16, 6, NONE), (32, 0, NONE))
WORDS = b"u::rw-,u:1001/alice:r--,u:77/:rwx,g::r--,g:0/root:r-x,m::rw-,o::---"


def test_the_words_on_the_disk_never_change() -> None:
    assert to_words(FULL, name, name) == WORDS
    expected = binary(
        (1, 6, NONE), (2, 7, 77), (2, 4, 1001), (4, 4, NONE), (8, 5, 0), (16, 6, NONE), (32, 0, NONE)
    )
    assert to_binary(WORDS, keep, keep) == expected


def test_a_name_comes_first_and_its_number_last() -> None:
    def number(asked: bytes, stored: int) -> int:
        return {b"alice": 5, b"root": 0}.get(asked, stored)

    found = to_binary(WORDS, number, number)
    assert struct.pack("<HHI", 2, 4, 5) in found
    assert struct.pack("<HHI", 2, 7, 77) in found


def test_entries_are_in_the_kernels_order_when_numbers_move() -> None:
    def swapped(asked: bytes, stored: int) -> int:
        return {b"a": 20, b"b": 10}[asked]

    words = b"u::rw-,u:1/a:r--,u:2/b:-w-,g::r--,m::rw-,o::---"
    numbers = [
        number
        for tag, _, number in struct.iter_unpack("<HHI", to_binary(words, swapped, keep)[4:])
        if tag == 2
    ]
    assert numbers == [10, 20]


account_names = st.text(st.characters(exclude_characters=":\n\0", exclude_categories=["Cs"]), max_size=12)
named = st.dictionaries(st.integers(0, NONE - 1), st.integers(0, 7), max_size=4)


@settings(max_examples=100, deadline=None)
@given(named, named, st.lists(st.integers(0, 7), min_size=4, max_size=4), account_names)
def test_lists_come_back(
    users: dict[int, int], groups: dict[int, int], four: list[int], account: str
) -> None:
    entries = [(1, four[0], NONE), (4, four[1], NONE), (16, four[2], NONE), (32, four[3], NONE)]
    entries += [(2, bits, number) for number, bits in users.items()]
    entries += [(8, bits, number) for number, bits in groups.items()]
    kernels = binary(*sorted(entries, key=lambda entry: (entry[0], entry[2])))
    words = to_words(kernels, lambda _: account.encode(), lambda _: account.encode())
    asked = []

    def keep_asked(asked_name: bytes, stored: int) -> int:
        asked.append(asked_name)
        return stored

    assert to_binary(words, keep_asked, keep_asked) == kernels
    assert set(asked) <= {account.encode()}
    assert b"\t" not in words
    assert b"\n" not in words


@pytest.mark.parametrize(
    "junk",
    [
        b"", b"\2\0\0", struct.pack("<I", 1), FULL[:-1], FULL + b"\0", binary((3, 0, NONE)), binary((1, 8, NONE)),
        struct.pack("<I", 3) + FULL[4:],
    ],
)  # fmt: skip
def test_unknown_binary_forms_are_refused(junk: bytes) -> None:
    with pytest.raises(ValueError, match="access control list"):
        to_words(junk, name, name)


@pytest.mark.parametrize(
    "words",
    [
        b"", b"u", b"u:", b"u::rw", b"u::rw-x", b"x::rw-", b"m:5/x:rw-", b"o:5/x:rw-", b"u:five/x:rw-", b"u:5/%zz:rw-",
        b"u::rw-,", b",u::rw-", b"u::rw-:", b"u::abc", b"u::wrx", b"u::-r-", b"u:99999999999/x:rw-", b"u:-1/x:rw-",
    ],
)  # fmt: skip
def test_malformed_words_are_refused(words: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        to_binary(words, keep, keep)
