"""Hypothesis strategies for what Pacha must take: names of any bytes, and entries of every kind."""

from __future__ import annotations

from struct import pack
from typing import Any

from hypothesis import strategies as st

from pacha.core.acl import to_words
from pacha.core.entry import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    FIFO,
    FILE,
    SOCKET,
    SYMLINK,
    Entry,
)

# What some client, file system or format takes for more than letters.
_PIECES = (
    b".hg", b".HG", b".hG.", b"hg~1", b"HG8B6C~12", b"hg", b"~", b"%", b"%2E", b"%meta", b"%00", b"\n", b"\r", b"\t",
    b"\x7f", b"\x1b[31m", b".", b" ", b"..", b"\xe2\x80\x8c", b"\xef\xbb\xbf", b"\xe2", b"\xff\xfe", b"\\", b":", b"-", b"=",
    b"a", b"Z", b"\xc3\xa9", b"e\xcc\x81", b".i", b".d", b"con", b"\xc2\x85", b"\xe2\x80\xa8", b"\x80\x8c",
)  # fmt: skip
_FORBIDDEN = (b"", b".", b"..")


def _usable(name: bytes) -> bool:
    return name not in _FORBIDDEN and b"/" not in name and b"\0" not in name and len(name) <= 255


# Any name that the kernel takes: half of them arbitrary bytes, half made of dangerous pieces.
names = st.one_of(
    st.binary(min_size=1, max_size=255), st.lists(st.sampled_from(_PIECES), min_size=1, max_size=6).map(b"".join)
).filter(_usable)  # fmt: skip
paths = st.lists(names, min_size=1, max_size=4).map(lambda parts: b"/" + b"/".join(parts))
# Account names as a system may have them; `:` and newline cannot be part of one.
accounts = st.one_of(
    st.just(b""), st.sampled_from((b"root", b"DOMAIN\\jo do", b"100%", b"caf\xc3\xa9", b"\xff", b"a/b", b"x@y"))
)  # fmt: skip
ids = st.integers(0, 2**32 - 2)
times = st.integers(-(2**63), 2**63 - 1)
permissions = st.integers(0, 7)


@st.composite
def access_lists(draw: st.DrawFn) -> bytes:
    """An access list in words, as the kernel would give it: sorted, each named account once."""
    users = draw(st.lists(ids, unique=True, max_size=3).map(sorted))
    groups = draw(st.lists(ids, unique=True, max_size=3).map(sorted))
    none = 0xFFFFFFFF
    tags = [(0x01, none), *((0x02, n) for n in users), (0x04, none), *((0x08, n) for n in groups)]
    entries = [(tag, draw(permissions), number) for tag, number in [*tags, (0x10, none), (0x20, none)]]
    name = draw(accounts)
    binary = pack("<I", 2) + b"".join(pack("<HHI", *entry) for entry in entries)
    return to_words(binary, lambda _: name, lambda _: name)


_common: dict[str, st.SearchStrategy[Any]] = {
    "mode": st.integers(0, 0o7777),
    "uid": ids,
    "user": accounts,
    "gid": ids,
    "group": accounts,
    "acl": st.none() | access_lists(),
    "xattrs": st.dictionaries(
        st.binary(min_size=1, max_size=20).map(lambda key: b"user." + key), st.binary(max_size=40), max_size=3
    ).map(lambda found: tuple(sorted(found.items()))),
}
_timed = {**_common, "mtime": times, "link": st.none() | paths}
_digests = st.binary(min_size=32, max_size=32).map(lambda digest: digest.hex().encode())
_holes = st.lists(st.tuples(st.integers(0, 2**40), st.integers(1, 2**40)), max_size=3).map(tuple)
_flags = st.sampled_from((b"", b"a", b"i", b"ai"))


def _entry(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Entry]:
    """Entries of just these fields (`st.builds` would invent the others)."""
    return st.fixed_dictionaries(fields).map(lambda values: Entry(**values))


files = _entry(
    kind=st.just(FILE), **_timed, sha256=_digests, size=st.none() | st.integers(0, 2**50), holes=_holes, flags=_flags,
    unstable=st.booleans(),
)  # fmt: skip
secret_files = _entry(
    kind=st.just(FILE), **_timed, secret=_digests, sealed=_digests.map(lambda digest: digest[:16]), flags=_flags,
)  # fmt: skip
undigested = _entry(kind=st.just(FILE), **_timed, size=st.integers(10**9, 2**60), flags=_flags)
directories = _entry(kind=st.just(DIRECTORY), **_common, default_acl=st.none() | access_lists(), flags=_flags)
symlinks = _entry(
    kind=st.just(SYMLINK),
    **{**_timed, "mode": st.just(0o777)},
    target=st.binary(min_size=1, max_size=300),
)
specials = _entry(kind=st.sampled_from((FIFO, SOCKET)), **_timed)
devices = _entry(
    kind=st.sampled_from((BLOCK, CHARACTER)),
    **_timed,
    device=st.tuples(st.integers(0, 4095), st.integers(0, 2**20)),
)
entries = st.one_of(files, secret_files, undigested, directories, symlinks, specials, devices)
