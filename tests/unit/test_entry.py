"""Metadata lines: every entry comes back from its line, each has one line, and nothing else passes for one."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.strategies import entries, names

from pacha.core.entry import (
    DIRECTORY,
    FILE,
    SYMLINK,
    Entry,
    check_entry,
    parse_entry,
    render_directory,
    render_entry,
    split_directory,
)
from pacha.core.names import encode

many = settings(max_examples=100, deadline=None)
DIGEST = b"ab" * 32
PLAIN = Entry(FILE, 0o644, 0, b"root", 0, b"root", 1_700_000_000_123_456_789, DIGEST)
LINE = b"file\tmode=0644\towner=root:0\tgroup=root:0\tmtime=1700000000.123456789\tsha256=" + DIGEST


def test_the_line_on_the_disk_never_changes() -> None:
    assert render_entry(PLAIN) == LINE
    full = PLAIN._replace(
        uid=7, user=b"a\tb", mode=0o4755, mtime=-1_500_000_000, sha256=None, size=5, holes=((0, 4096), (8192, 1)),
        link=b"/a b\n", acl=b"u::rw-", default_acl=b"u::r--", xattrs=((b"user.=", b"\0 \xff"),), flags=b"ai", unstable=True,
    )  # fmt: skip
    assert render_entry(full) == (
        b"file\tmode=4755\towner=a%09b:7\tgroup=root:0\tmtime=-1.500000000\tsize=5\tholes=0+4096,8192+1"
        b"\tlink=/a b%0A\tacl=u::rw-\tdefault=u::r--\txattr:user.%3D=%00%20%FF\tflags=ai\tunstable=1"
    )
    device = Entry(b"block", 0o600, 0, b"", 6, b"disk", 0, device=(7, 200))
    assert (
        render_entry(device) == b"block\tmode=0600\towner=:0\tgroup=disk:6\tmtime=0.000000000\tdevice=7:200"
    )
    link = Entry(SYMLINK, 0o777, 0, b"", 0, b"", -1, target=b"../%\xff")
    assert (
        render_entry(link) == b"symlink\tmode=0777\towner=:0\tgroup=:0\tmtime=-0.000000001\ttarget=../%25\xff"
    )


@many
@given(entries)
def test_an_entry_comes_back_from_its_line(entry: Entry) -> None:
    line = render_entry(entry)
    assert b"\n" not in line
    assert parse_entry(line) == entry
    assert check_entry(line) == entry


@many
@given(entries, entries)
def test_two_entries_have_two_lines(one: Entry, other: Entry) -> None:
    assert (render_entry(one) == render_entry(other)) == (one == other)


@many
@given(entries, st.data())
def test_a_damaged_line_is_refused_or_another_entrys(entry: Entry, data: st.DataObject) -> None:
    line = render_entry(entry)
    at = data.draw(st.integers(0, len(line) - 1))
    damage = data.draw(st.binary(max_size=3))
    damaged = line[:at] + damage + line[at + data.draw(st.integers(0, 3)) :]
    try:
        read = check_entry(damaged)
    except ValueError:
        return
    assert (read == entry) == (damaged == line)


@many
@given(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(lambda more: LINE + b"\t" + more)))
@example(b"")
@example(LINE + b"\tdevice=")
@example(LINE + b"\tholes=1")
def test_junk_raises_nothing_but_value_error(text: bytes) -> None:
    try:
        parse_entry(text)
    except ValueError:
        pass


SECOND_SPELLINGS = {
    "fields in another order": LINE.replace(b"mode=0644\towner=root:0", b"owner=root:0\tmode=0644"),
    "a field twice": LINE.replace(b"mode=0644", b"mode=0600\tmode=0644"),
    "an unknown field": LINE + b"\tcolour=blue",
    "a shorter mode": LINE.replace(b"mode=0644", b"mode=644"),
    "a longer mode": LINE.replace(b"mode=0644", b"mode=00644"),
    "a number with a sign": LINE.replace(b"root:0\tgroup", b"root:+0\tgroup"),
    "a number with an underscore": LINE.replace(b"mtime=17", b"mtime=1_7"),
    "a number with a space": LINE.replace(b"mtime=17", b"mtime= 17"),
    "minus zero": LINE.replace(b"1700000000.123456789", b"-0.000000000"),
    "a needless escape": LINE.replace(b"owner=root", b"owner=%72oot"),
    "an xattr's lower-case escape": LINE + b"\txattr:user.a=%0a",
    "an xattr not escaped": LINE + b"\txattr:user.a=\xff",
    "xattrs out of order": LINE + b"\txattr:user.b=1\txattr:user.a=1",
    "an xattr twice": LINE + b"\txattr:user.a=1\txattr:user.a=1",
    "flags out of order": LINE + b"\tflags=ia",
    "stable, in words": LINE + b"\tunstable=0",
    "no kind": LINE[4:],
    "an unknown kind": b"door" + LINE[4:],
    "no mode": LINE.replace(b"\tmode=0644", b""),
    "no owner": LINE.replace(b"\towner=root:0", b""),
    "no group": LINE.replace(b"\tgroup=root:0", b""),
    "an owner without a number": LINE.replace(b"owner=root:0", b"owner=root"),
    "a time without nanoseconds": LINE.replace(b".123456789", b""),
    "a field without a value": LINE + b"\tflags",
    "an empty field": LINE + b"\t",
}


@pytest.mark.parametrize("what", SECOND_SPELLINGS)
def test_there_is_one_legal_form(what: str) -> None:
    check_entry(LINE)
    with pytest.raises(ValueError, match=r".+"):
        check_entry(SECOND_SPELLINGS[what])


def test_the_time_alone_is_no_change() -> None:
    later = PLAIN._replace(mtime=5)
    assert later.essence() == PLAIN.essence()
    assert later.same_content(PLAIN)
    assert PLAIN._replace(mode=0o600).essence() != PLAIN.essence()


def test_the_time_of_a_file_that_was_not_digested_is_all_there_is() -> None:
    huge = PLAIN._replace(sha256=None, size=2 * 10**9)
    assert huge.essence() != huge._replace(mtime=5).essence()
    assert not huge.same_content(huge._replace(mtime=5))
    assert not huge.same_content(huge._replace(size=3 * 10**9))


@pytest.mark.parametrize(
    "other",
    [
        PLAIN._replace(sha256=b"cd" * 32),
        PLAIN._replace(kind=b"fifo"),
        PLAIN._replace(target=b"x"),
        PLAIN._replace(device=(1, 3)),
    ],
)
def test_other_content(other: Entry) -> None:
    assert not PLAIN.same_content(other)


def test_metadata_is_not_content() -> None:
    dressed = PLAIN._replace(
        mode=0, uid=9, acl=b"u::r--", xattrs=((b"user.a", b"b"),), flags=b"i", link=b"/x"
    )
    assert PLAIN.same_content(dressed)


def test_content_is_stored_of_files_within_the_limit() -> None:
    assert PLAIN.has_content
    assert not PLAIN._replace(size=0).has_content
    assert not Entry(DIRECTORY, 0o755, 0, b"", 0, b"").has_content


@many
@given(st.dictionaries(names | st.just(b"."), entries.map(render_entry), max_size=6))
def test_a_directory_comes_back_from_its_text(lines: dict[bytes, bytes]) -> None:
    text = render_directory(lines)
    assert split_directory(text) == lines
    assert text.count(b"\n") == len(lines)
    first = [line.partition(b"\t")[0] for line in text.split(b"\n")[:-1]]
    assert first == sorted(b"." if name == b"." else encode(name) for name in lines)


GOOD = b"a\t" + LINE + b"\nb\t" + LINE + b"\n"
BAD_DIRECTORIES = {
    "a name twice": b"a\t" + LINE + b"\na\t" + LINE + b"\n",
    "a name in a second spelling": b"%61\t" + LINE + b"\n",
    "the parent": b"..\t" + LINE + b"\n",
    "Mercurial's folder": b".hg\t" + LINE + b"\n",
    "a slash": b"a/b\t" + LINE + b"\n",
    "no name": b"\t" + LINE + b"\n",
    "an empty line": b"\n" + GOOD,
    "no tab": b"a\n",
    "a last line that does not end": GOOD + b"c\t" + LINE,
    "no line that ends": b"garbage",
}


@pytest.mark.parametrize("what", BAD_DIRECTORIES)
def test_a_malformed_directory_is_refused(what: str) -> None:
    assert len(split_directory(GOOD)) == 2
    with pytest.raises(ValueError, match=r".+"):
        split_directory(BAD_DIRECTORIES[what])
