"""Rules: what is tracked, what is left out, and that the text of a revision's rules says the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import paths

from pacha.core.rules import Rules, is_temporary

ETC = Rules(
    [b"/etc", b"/root/.bashrc"], ["*.bak", "/etc/alternatives/**", "cache/"], excluded=[b"/etc/state"]
)


@pytest.mark.parametrize(
    "path", [b"/etc", b"/etc/hosts", b"/etc/a/b", b"/root/.bashrc", b"/etc/alternatives"]
)
def test_covered(path: bytes) -> None:  # fmt: skip
    assert ETC.covers(path)


@pytest.mark.parametrize(
    "path",
    [
        *(b"/", b"/etcetera", b"/root", b"/root/.bashrc2", b"/etc/x.bak", b"/etc/x.bak/y", b"/etc/alternatives/vi"),
        *(b"/etc/state", b"/etc/state/store/x", b"/etc/a/.pacha.0123456789abcdef.new", b"/etc/.x.swp", b"/etc/cache/x"),
    ],
)  # fmt: skip
def test_not_covered(path: bytes) -> None:
    assert not ETC.covers(path)


def test_a_pattern_for_directories_spares_files() -> None:
    assert ETC.covers(b"/etc/cache")
    assert not ETC.covers(b"/etc/cache", is_directory=True)


def test_the_watch_itself_is_covered_whatever_its_name() -> None:
    assert Rules([b"/srv/x.bak"], ["*.bak"]).covers(b"/srv/x.bak")
    assert not Rules([b"/srv/x.bak"], ["*.bak"]).covers(b"/srv/x.bak/y.bak")


def test_a_watch_of_the_root_covers_all() -> None:
    rules = Rules([b"/"], excluded=[b"/var/lib/pacha"])
    assert rules.covers(b"/")
    assert rules.covers(b"/any/thing")
    assert not rules.covers(b"/var/lib/pacha/lock")


def test_nested_watches_count_once() -> None:
    rules = Rules([b"/etc/a", b"/etc", b"/etcetera", b"/etc"])
    assert rules.watches == (b"/etc", b"/etcetera")
    assert rules.watch_of(b"/etc/a/b") == b"/etc"
    assert rules.watch_of(b"/etcetera/x") == b"/etcetera"
    assert rules.watch_of(b"/et") is None


OWN = Rules([], ["*.toml"], own=[b"/etc/pacha"])


@pytest.mark.parametrize("name", [b"pacha.toml", b"hooks", b"id_ed25519.pub", b"x~", b"key"])
def test_pachas_own_configuration_is_always_tracked(name: bytes) -> None:
    assert OWN.covers(b"/etc/pacha/" + name)


@pytest.mark.parametrize(
    "name", [b"id_ed25519", b"identity", b"identity.txt", b"host.key", b"x.pem", b"hooks/a.key"]
)
def test_but_for_private_keys(name: bytes) -> None:  # fmt: skip
    assert not OWN.covers(b"/etc/pacha/" + name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b".pacha.0123456789abcdef.new", True),
        (b".pacha.0123456789ABCDEF.new", False),
        (b".pacha.0123456789abcde.new", False),
        (b".pacha.0123456789abcdef0.new", False),
        (b".pacha.0123456789abcdef.new~", False),
        (b"x.pacha.0123456789abcdef.new", False),
        (b".pacha..new", False),
        (b".pacha.new", False),
    ],
)
def test_temporary_names(name: bytes, expected: bool) -> None:
    assert is_temporary(name) == expected


def test_the_text_on_the_disk_never_changes() -> None:
    rules = Rules([b"/a b%\n"], ["*.x\ty"], 5, [b"/s"], [b"/c"])
    assert rules.render() == b"watch /a b%25%0A\nwatch /c\nignore *.x%09y\nown /c\nexclude /s\nsize 5\n"


patterns = st.lists(
    st.sampled_from(["*.bak", "/etc/mtab", "caf\u00e9", "\udcff*", "a\tb", "100%", " x "]), max_size=3
)


@settings(max_examples=66, deadline=None)
@given(
    st.lists(paths, max_size=4),
    patterns,
    st.integers(0, 2**60),
    st.lists(paths, max_size=2),
    st.lists(paths, max_size=2),
    st.lists(paths, max_size=6),
)
def test_rules_come_back_from_their_text(
    watches: list[bytes],
    ignores: list[str],
    size: int,
    excluded: list[bytes],
    own: list[bytes],
    asked: list[bytes],
) -> None:
    rules = Rules(watches, ignores, size, excluded, own)
    again = Rules.parse(rules.render())
    assert again.render() == rules.render()
    assert (again.watches, again.ignores, again.size) == (rules.watches, rules.ignores, rules.size)
    for path in [*asked, *watches, *excluded, *own]:
        assert again.covers(path) == rules.covers(path)


@settings(max_examples=66, deadline=None)
@given(st.lists(paths, max_size=5), paths)
def test_what_is_covered_lies_below_a_watch(watches: list[bytes], path: bytes) -> None:
    rules = Rules(watches)
    if rules.covers(path):
        assert any(path == watch or path.startswith(watch + b"/") for watch in watches)
    assert all(rules.covers(watch) for watch in rules.watches)


@pytest.mark.parametrize(
    "text", [b"", b"watch /etc\n", b"size 5\nsize 6\n", b"size x\n", b"size\n", b"wach /etc\nsize 5\n", b"watch %zz\nsize 5\n"]
)  # fmt: skip
def test_malformed_rules_are_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Rules.parse(text)
