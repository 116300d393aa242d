"""Patterns: tables of what matches, an independent matcher to compare with, speed that no name can spoil."""

from __future__ import annotations

import fnmatch
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacha.core.errors import ConfigError
from pacha.core.patterns import BUILT_IN, Ignore

MATCHING = [
    ("*.pyc", b"/etc/a.pyc", False),
    ("*.pyc", b"/etc/x.pyc/inside", False),
    ("cache/", b"/etc/cache", True),
    ("cache/", b"/etc/cache/inside", False),
    ("/etc/mtab", b"/etc/mtab", False),
    ("/etc/mtab", b"/etc/mtab/below", False),
    ("/etc/*/x", b"/etc/a/x", False),
    ("/etc/alternatives/**", b"/etc/alternatives/vi", False),
    ("/etc/alternatives/**", b"/etc/alternatives/a/b", False),
    ("/etc/**/x", b"/etc/x", False),
    ("/etc/**/x", b"/etc/a/b/x", False),
    ("**/ssl/private", b"/ssl/private", False),
    ("**/ssl/private", b"/etc/ssl/private/key.pem", False),
    ("/etc/a**z", b"/etc/ab/cz", False),
    ("/etc/ssl/", b"/etc/ssl", True),
    ("/etc/**/", b"/etc/a", True),
    ("[!a]x", b"/bx", False),
    ("[]a]x", b"/]x", False),
    ("[a-]x", b"/-x", False),
    ("\\*x", b"/*x", False),
    ("\\!x", b"/!x", False),
    ("gr?n", "/grün".encode(), False),
    ("gr[ü]n", "/grün".encode(), False),
    ("a?b", b"/a\xffb", False),
    ("a*b", b"/a\n\xff b", False),
    ("/a*/**/b*c", b"/ax/y/z/bc", False),
    ("/etc/*", b"/etc/x", False),
    ("**", b"/x", False),
    ("a b\n", b"/a b\n", False),
]
PASSING = [
    ("*.pyc", b"/etc/a.pyc2", False),
    ("cache/", b"/etc/cache", False),
    ("/etc/mtab", b"/etc/mtab2", False),
    ("/etc/mtab", b"/root/etc/mtab", False),
    ("/etc/*", b"/etc", True),
    ("/etc/*/x", b"/etc/a/b/x", False),
    ("/etc/alternatives/**", b"/etc/alternatives", True),
    ("/etc/**/x", b"/etc/ax", False),
    ("**/ssl/private", b"/etc/xssl/private", False),
    ("/etc/ssl/", b"/etc/ssl", False),
    ("/etc/**/", b"/etc/a", False),
    ("[!a]x", b"/ax", False),
    ("/etc[+-9]x", b"/etc/x", False),
    ("/etc[!a]x", b"/etc/x", False),
    ("\\*x", b"/ax", False),
    ("A", b"/a", False),
    ("a.b", b"/axb", False),
    ("/?", b"/ab", False),
]
BUILT_IN_MATCHING = [
    b"/etc/.x.swp",
    b"/etc/.swp.swo",
    b"/etc/4913",
    b"/etc/x~",
    b"/.#x",
    b"/#x#",
    b"/a.dpkg-new/b",
    b"/a.dpkg-tmp",
]
BUILT_IN_PASSING = [
    b"/etc/x.swp",
    b"/etc/.x.swz",
    b"/etc/49130",
    b"/etc/~",
    b"/##",
    b"/#x",
    b"/etc/x.dpkg-old",
    b"/etc/passwd-",
    b"/",
]
INVALID = [
    "",
    "/",
    "a/b",
    "../x",
    "/etc/../x",
    "/etc//x",
    "!x",
    "[a",
    "[z-a]",
    "x\\",
    "/a\\/b",
    "[a/b]",
    "[]",
    "a\0b",
    "[[:digit:]]",
    "./x",
    "/etc//",
]


@pytest.mark.parametrize(("pattern", "path", "is_dir"), MATCHING)
def test_matches(pattern: str, path: bytes, is_dir: bool) -> None:
    assert Ignore([pattern], built_in=False).matches(path, is_dir)


@pytest.mark.parametrize(("pattern", "path", "is_dir"), PASSING)
def test_passes(pattern: str, path: bytes, is_dir: bool) -> None:
    assert not Ignore([pattern], built_in=False).matches(path, is_dir)


@pytest.mark.parametrize("path", BUILT_IN_MATCHING)
def test_built_in_patterns_are_always_on(path: bytes) -> None:
    assert Ignore([]).matches(path)
    assert Ignore(["/etc/other"]).matches(path)


@pytest.mark.parametrize("path", BUILT_IN_PASSING)
def test_built_in_patterns_leave_the_rest(path: bytes) -> None:
    assert not Ignore([]).matches(path)


@pytest.mark.parametrize("pattern", INVALID)
def test_an_invalid_pattern_is_named(pattern: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Ignore(["fine", pattern])
    assert repr(pattern) in str(caught.value)


def test_a_pattern_that_is_not_utf8_matches_its_bytes() -> None:
    assert Ignore([b"caf\xe9*".decode("utf-8", "surrogateescape")]).matches(b"/caf\xe9-x")


def test_the_root_and_its_entries_join_to_one_slash() -> None:
    ignore = Ignore(["/x"])
    assert ignore.matches_entry(b"/", b"x", False)
    assert ignore.matches_entry(b"", b"x", False)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a*a*a*a*a*a*a*b", b"/" + b"a" * 255),
        ("/etc/*a*a*a*a*a*a*b", b"/etc/" + b"a" * 250),
        ("/**/a*a*a*a*b", b"/" + b"/".join([b"a" * 50] * 40)),
    ],
)
def test_no_name_makes_a_pattern_slow(pattern: str, path: bytes) -> None:
    ignore = Ignore([pattern], built_in=False)
    start = time.monotonic()
    assert not ignore.matches(path)
    assert time.monotonic() - start < 5  # exponential matching takes years


NAMES = st.text(alphabet="ab.~#-\n ü", min_size=1, max_size=8).filter(lambda name: name not in (".", ".."))
GLOBS = st.lists(
    st.sampled_from(["*", "?", "a", "b", ".", "[ab]", "[!a]", "~", "#", "ü"]), min_size=1, max_size=6
).map("".join)


@settings(deadline=None)  # the first call imports and compiles
@given(GLOBS.filter(lambda text: text not in (".", "..")), NAMES)
def test_names_match_as_fnmatch_says(glob: str, name: str) -> None:
    assert Ignore([glob], built_in=False).matches(b"/etc/" + name.encode()) == (
        fnmatch.fnmatchcase(name, glob) or fnmatch.fnmatchcase("etc", glob)
    )


def _oracle(pattern: list[str], path: list[str]) -> bool:
    """Component by component, the plain recursive way."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        if len(pattern) == 1:
            return bool(path)
        return any(_oracle(pattern[1:], path[at:]) for at in range(len(path) + 1))
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and _oracle(pattern[1:], path[1:])


COMPONENTS = st.one_of(st.just("**"), GLOBS.filter(lambda text: text not in (".", "..") and "**" not in text))


@settings(deadline=None)  # the first call imports and compiles
@given(st.lists(COMPONENTS, min_size=1, max_size=4), st.lists(NAMES, min_size=1, max_size=5))
def test_paths_match_component_by_component(pattern: list[str], path: list[str]) -> None:
    expected = any(_oracle(pattern, path[:end]) for end in range(1, len(path) + 1))
    host_path = b"/" + "/".join(path).encode()
    assert Ignore(["/" + "/".join(pattern)], built_in=False).matches(host_path) == expected


@settings(deadline=None)  # the first call imports and compiles
@given(
    st.lists(st.sampled_from([*BUILT_IN, "/a/*", "/a/**", "b/"]), max_size=4),
    st.lists(NAMES, min_size=1, max_size=4),
    st.booleans(),
)
def test_a_scanner_that_descends_sees_what_matches_says(
    patterns: list[str], names: list[str], is_dir: bool
) -> None:
    ignore = Ignore(patterns)
    parent, seen = b"", False
    for at, name in enumerate(names):
        seen = seen or ignore.matches_entry(parent, name.encode(), is_dir or at < len(names) - 1)
        parent += b"/" + name.encode()
    assert ignore.matches(parent, is_dir) == seen
