"""Recipients as people write them, and what tells secrets apart."""

from __future__ import annotations

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacha.core.entry import FILE, Entry, check_entry, render_entry
from pacha.core.recipients import Recipient, parse_recipient
from pacha.core.secrets import (
    Named,
    keyed_digest,
    parse_paths,
    parse_recipients,
    render_secrets,
    seal,
    sealed_id,
)


@given(st.integers(0, 61), st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l"))
def test_one_wrong_letter_is_noticed(at: int, letter: str) -> None:
    key = str(pyrage.x25519.Identity.generate().to_public())
    assert parse_recipient(key) == Recipient(key)
    at = max(at, 4)
    wrong = key[:at] + letter + key[at + 1 :]
    if wrong != key:
        with pytest.raises(ValueError, match="checksum"):
            parse_recipient(wrong)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t", "plugin"),
        ("AGE-SECRET-KEY-1QQQQ", "private key"),
        ("ssh-ed25519 !!!!", "base64"),
        ("ssh-ed25519 AAAA", "holds no ssh-ed25519 key"),
        ("ssh-dss AAAA", "no recipient"),
        ("somebody", "no recipient"),
        ("", "no recipient"),
    ],
)
def test_what_is_none(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_recipient(text)


def test_a_set_has_one_name() -> None:
    one, two = (Recipient(str(pyrage.x25519.Identity.generate().to_public())) for _ in range(2))
    assert sealed_id([one, two]) == sealed_id([two._replace(comment="whose it is"), one, one])
    assert sealed_id([one]) != sealed_id([two])
    patterns = ["/etc/odd\nname", "/etc/shadow*", "caf\N{LATIN SMALL LETTER E WITH ACUTE}/"]
    text = render_secrets(one, [two, one], patterns) + b"nonsense\nrecipient age1x\n\xff\npath //\n"
    assert parse_recipients(text) == [(True, one), (False, two)]
    assert parse_paths(text) == sorted(patterns)


def test_digests_tell_paths_and_keys_apart() -> None:
    sha = b"0" * 64
    assert keyed_digest(b"key", b"/a", sha) == keyed_digest(b"key", b"/a", sha)
    assert (
        len({keyed_digest(k, p, s) for k in (b"k", b"l") for p in (b"/a", b"/b") for s in (sha, b"1" * 64)})
        == 8
    )


def test_named() -> None:
    named = Named(["/etc/shadow*", "/etc/ssl/private/**", "*.key", "cache/"])
    for path in (
        b"/etc/shadow",
        b"/etc/shadow-",
        b"/etc/ssl/private/a/b",
        b"/x/y.key",
        b"/a/cache/b/c",
        b"/y.key",
    ):
        assert named.covers(path), path
    for path in (b"/etc/passwd", b"/etc/ssl/private", b"/x/cache", b"/etc/x/shadow"):
        assert not named.covers(path), path
    assert named and not Named([])
    assert not Named([]).covers(b"/etc/shadow")


_ENTRY = Entry(FILE, 0o600, 0, b"root", 0, b"root", 1, b"a" * 64, holes=((0, 4096),))


def test_the_line_of_a_secret() -> None:
    sealed = seal(_ENTRY, b"b" * 64, b"c" * 16)
    line = render_entry(sealed)
    assert b"sha256" not in line and b"holes" not in line
    assert line.endswith(b"\tsecret=" + b"b" * 64 + b"\tsealed=" + b"c" * 16)
    assert check_entry(line) == sealed
    assert not sealed.same_content(_ENTRY) and sealed.has_content
    large = seal(_ENTRY._replace(size=5), b"b" * 64, b"c" * 16)
    assert large.sealed is None and check_entry(render_entry(large)) == large
    assert seal(_ENTRY, None, b"c" * 16) == _ENTRY


@pytest.mark.parametrize(
    "wrong",
    [
        {"sha256": b"a" * 64, "secret": b"b" * 64, "sealed": b"c" * 16},
        {"sha256": None, "secret": b"b" * 64, "sealed": None},
        {"sha256": b"a" * 64, "sealed": b"c" * 16},
        {"sha256": None, "secret": b"b" * 64, "sealed": b"c" * 16, "size": 3},
    ],
)
def test_a_line_that_no_secret_has_is_not_admitted(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="legal form"):
        check_entry(render_entry(_ENTRY._replace(**wrong)))
