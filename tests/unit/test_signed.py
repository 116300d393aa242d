"""What was signed: one form, and to the second when, where and after what it holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacha.core.deployed import Accepted
from pacha.core.deployment import Source, Sources
from pacha.core.errors import Refused, UsageError
from pacha.core.parcel import Deployment, Item, digest_of, revision_of
from pacha.core.quantities import DAY, SECOND
from pacha.core.signed import SERIAL_AHEAD, SKEW_NS, Statement, check, check_serial, doubts, parse, render
from pacha.core.to_sign import contents_of, new_statement

NOW = 1_795_000_000
BARE = Deployment("web", items=(Item(b"/etc/a", b"file", 0o644, sha256="0" * 64, size=1),))
WEB = BARE._replace(revision=revision_of(BARE))
SOUND = Statement("web", NOW, NOW, NOW + 100, {"web1": digest_of(WEB)}, {"files/etc/a": "0" * 64})


@given(
    st.builds(
        Statement,
        st.from_regex(r"[0-9A-Za-z_][0-9A-Za-z._-]{0,63}", fullmatch=True),
        st.integers(1, NOW),
        st.just(NOW),
        st.integers(NOW + 1, 2**35),
        st.dictionaries(
            st.text(min_size=1, max_size=9).filter(str.isprintable), st.just("a" * 64), max_size=3
        ),
        st.dictionaries(st.text(max_size=9), st.just("b" * 64), max_size=3),
    )
)
def test_it_is_read_as_it_was_rendered(one: Statement) -> None:
    text = render(one)
    assert parse(text) == one
    assert text.isascii()


@given(st.data())
def test_whatever_is_other_is_refused_or_means_the_same_to_the_letter(data: st.DataObject) -> None:
    text = render(SOUND)
    at = data.draw(st.integers(0, len(text) - 1))
    altered = text[:at] + data.draw(st.text(max_size=3)) + text[at + data.draw(st.integers(0, 3)) :]
    try:
        assert render(parse(altered)) == altered
    except Refused:
        assert altered != text


@given(st.text())
def test_anything_is_refused_in_words(text: str) -> None:
    with pytest.raises(Refused):
        parse(text)


def test_it_holds_to_the_second() -> None:
    def at(now_ns: int, seen_ns: int = 0, one: Statement = SOUND) -> None:
        check(one, WEB, "web1", now_ns, seen_ns)

    begin, until = SOUND.begin * SECOND, SOUND.until * SECOND
    for now in (begin, begin - SKEW_NS, until - 1):
        at(now)
    at(begin, begin + SKEW_NS)
    for now, seen in ((begin - SKEW_NS - 1, 0), (until, 0), (until + DAY, 0), (begin, begin + SKEW_NS + 1)):
        with pytest.raises(Refused):
            at(now, seen)


def test_it_holds_for_the_very_host_and_the_very_deployment() -> None:
    for host in ("web", "web11", "WEB1", "web1.example.com", ""):
        with pytest.raises(Refused, match="this host is"):
            check(SOUND, WEB, host, NOW * SECOND, 0)
    for other in (
        BARE,
        WEB._replace(revision="0" * 12),
        WEB._replace(packages=("x",)),
        WEB._replace(name="db"),
    ):
        with pytest.raises(Refused):
            check(SOUND, other, "web1", NOW * SECOND, 0)


def test_serials() -> None:
    last = Accepted(7, "a", 1)
    for serial, made, before in ((1, "a", None), (7, "a", last), (8, "b", last)):
        check_serial("web", serial, made, before)
    for serial, made in ((6, "a"), (7, "b")):
        with pytest.raises(Refused):
            check_serial("web", serial, made, last)


def test_a_serial_is_at_most_an_hour_ahead() -> None:
    most = SOUND._replace(serial=NOW + SERIAL_AHEAD)
    assert parse(render(most)) == most
    with pytest.raises(Refused):
        parse(render(most._replace(serial=most.serial + 1)))


def test_what_a_pusher_can_tell() -> None:
    assert doubts(SOUND, WEB, "web1", NOW * SECOND) == ""
    assert "not signed for" in doubts(SOUND, WEB, "web2", NOW * SECOND)
    assert "has changed" in doubts(SOUND, WEB._replace(packages=("x",)), "web1", NOW * SECOND)
    assert "signed as web" in doubts(SOUND, WEB._replace(name="db"), "web1", NOW * SECOND)
    assert "held until" in doubts(SOUND, WEB, "web1", SOUND.until * SECOND)


def test_a_new_one_counts_on() -> None:
    sources = Sources("web", "pacha.toml", "", (Source(b"/etc/a", "files/etc/a", b"file", 0o644, b"x"),))

    def new(before: Statement | None, now: int = NOW) -> Statement:
        return new_statement(sources, [("web1", WEB)], 30 * DAY, now * SECOND, before)

    first = new(None)
    assert (first.serial, first.until) == (NOW, NOW + 30 * 86_400)
    assert new(first).serial == NOW + 1
    assert new(first, NOW + 50).serial == NOW + 50
    assert parse(render(first)) == first
    with pytest.raises(UsageError, match="in the future"):
        new(first._replace(serial=NOW + SERIAL_AHEAD))


def test_contents_are_named_whatever_their_names_are() -> None:
    odd = Source("/etc/ä\n".encode(), "", b"file", 0o644, b"x")
    link = Source(b"/etc/l", "", b"symlink", 0o777, target=b"a")
    folder = Source(b"/etc", "", b"dir", 0o755)
    found = contents_of(Sources("web", "", "absent = []", (folder, odd, link)))
    assert list(found) == ["pacha.toml", "files/etc/%C3%A4%0A", "files/etc/l"]
