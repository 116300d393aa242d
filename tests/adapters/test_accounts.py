"""Users and groups: the system's own for this machine, the files of another root for that one."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from pacha.adapters.files.accounts import Accounts
from pacha.adapters.files.tree import Tree

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nalice:x:1500:100::/:\ntwin:x:1500:1::/:\n\n# words\nbad\nodd:x:x:1::/:\n\xff:x:7:7::/:\nalice:x:9:9::/:\n"  # fmt: skip
GROUP = b"root:x:0:\nstaff:x:1500:alice\n"


def nothing(path: bytes) -> bytes:
    raise AssertionError(f"{path!r} was asked for")


@pytest.fixture
def other(tmp_path: Path) -> Accounts:
    """The accounts of another root, through a real tree."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_bytes(PASSWD)
    (tmp_path / "etc" / "group").write_bytes(GROUP)
    return Tree(os.fsencode(tmp_path)).accounts


def test_this_machines_accounts_are_the_systems() -> None:
    mine = Accounts(True, nothing)
    for user in pwd.getpwall():
        assert mine.user_number(user.pw_name.encode(), -1) == pwd.getpwnam(user.pw_name).pw_uid
        assert mine.user(user.pw_uid) == pwd.getpwuid(user.pw_uid).pw_name.encode()
    for group in grp.getgrall():
        assert mine.group_number(group.gr_name.encode(), -1) == group.gr_gid
        assert mine.group(group.gr_gid) == grp.getgrgid(group.gr_gid).gr_name.encode()


def test_an_account_that_is_not_there() -> None:
    mine = Accounts(True, nothing)
    assert (mine.user(54_321), mine.group(54_321), mine.user(2**32 - 2)) == (b"", b"", b"")
    assert (mine.user_number(b"no such user", 7), mine.group_number(b"\xff", 8)) == (7, 8)
    assert mine.user_number(b"", 9) == 9
    assert mine.missing(b"no such user", b"no such group") == ["user no such user", "group no such group"]
    assert mine.missing(b"root", b"root") == []
    assert mine.missing(b"", b"") == []
    assert mine.missing(b"root", b"\xff") == ["group \ufffd"]


def test_another_root_has_accounts_of_its_own(other: Accounts) -> None:
    assert (other.user(1500), other.group(1500), other.user(0), other.user(7)) == (
        b"alice",
        b"staff",
        b"root",
        b"\xff",
    )
    assert (other.user_number(b"alice", 1), other.group_number(b"staff", 1)) == (1500, 1500)
    assert other.user_number(b"twin", 1) == 1500
    assert other.user(1) == b""
    assert other.user_number(b"daemon", 1) == 1
    assert other.user_number(b"odd", 3) == 3
    assert other.missing(b"staff", b"alice") == ["user staff", "group alice"]


def test_a_root_without_accounts_has_numbers_only(tmp_path: Path) -> None:
    accounts = Tree(os.fsencode(tmp_path)).accounts
    assert (accounts.user(0), accounts.user_number(b"root", 5)) == (b"", 5)
    assert accounts.missing(b"root", b"") == [], "numbers are all there is: nothing is missing"


def test_another_roots_accounts_are_not_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "passwd").write_bytes(PASSWD)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "etc").symlink_to(tmp_path / "real")
    assert Tree(os.fsencode(tmp_path / "root")).accounts.user(1500) == b""


def test_each_answer_is_asked_for_once() -> None:
    asked = []

    def read(path: bytes) -> bytes:
        asked.append(path)
        return PASSWD

    accounts = Accounts(False, read)
    for _ in range(3):
        accounts.user(1500), accounts.user(9), accounts.user_number(b"alice", 0)
    assert asked == [b"/etc/passwd"]


def test_a_name_that_no_system_has_is_missing_and_no_error() -> None:
    mine = Accounts(True, nothing)
    for name in (b"a\0b", b"x" * 5000, b"a\nb", b"-1", b"\xff\xfe"):
        assert mine.user_number(name, 3) == 3
        assert mine.group_number(name, 4) == 4
        assert mine.missing(name, b"") != []
