"""Names in the store: reversible, one spelling each, and none that Mercurial would refuse or obey."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mercurial import pathutil, scmutil
from mercurial.error import InputError
from tests.strategies import names, paths

from pacha.core.names import (
    content_path,
    decode,
    decode_path,
    encode,
    encode_path,
    escape,
    escape_all,
    is_below,
    is_legal,
    join,
    meta_directory,
    meta_path,
    split,
    unescape,
)

many = settings(max_examples=133, deadline=None)
AUDIT = pathutil.pathauditor(b"/nonexistent", realfs=False)


def mercurial_takes(store_path: bytes) -> bool:
    """Whether Mercurial's own checks let this path of a repository pass."""
    try:
        AUDIT(store_path)
        scmutil.checkfilename(store_path)
    except InputError:
        return False
    return True


@many
@given(names)
@example(b".hg")
@example(b"\xe2\x80\x8c.hg")
@example(b"%2Ehg")
@example(b"\xe2\xe2\x80\x8c\x80\x8c.hg")
def test_a_name_comes_back_from_its_component(name: bytes) -> None:
    component = encode(name)
    assert decode(component) == name
    assert b"/" not in component
    assert not any(byte < 0x20 or byte == 0x7F for byte in component)


@many
@given(names, names)
def test_two_names_have_two_components(one: bytes, other: bytes) -> None:
    assert (encode(one) == encode(other)) == (one == other)


@many
@given(names)
@example(b".hg. ")
@example(b"HG~1")
@example(b".h\xe2\x80\x8cG")
@example(b"hg8b6c~99")
@example(b"line\nbreak\r")
def test_mercurial_takes_every_component(name: bytes) -> None:
    assert mercurial_takes(content_path(b"/" + name))
    assert mercurial_takes(content_path(b"/etc/" + name + b"/below"))
    assert mercurial_takes(meta_path(b"/" + name))


@pytest.mark.parametrize(
    "name", [b".hg", b".Hg", b".hg.", b"hg~1", b"HG8B6C~1", b"\xe2\x80\x8c.hg", b"a\nb", b"a\rb"]
)
def test_mercurial_refuses_the_same_names_as_they_are(name: bytes) -> None:
    assert not mercurial_takes(b"files/etc/" + name)


@pytest.mark.parametrize(
    "name",
    [
        *(b"hosts", b"a b", b"caf\xc3\xa9", b"\xff\xfe", b".hgignore", b".git", b"hg", b"x.hg", b"-rf", b"a:b", b"a~1"),
        *(b"trailing ", b"trailing.", b"back\\slash", b"x.i", b"x.d", b"hg~x", b".hgx", b"\xe2\x80\x8c", b"con"),
    ],
)  # fmt: skip
def test_harmless_names_stay_readable(name: bytes) -> None:
    assert encode(name) == name


@pytest.mark.parametrize(
    ("name", "component"),
    [
        (b"100%", b"100%25"),
        (b"%meta", b"%25meta"),
        (b"a\nb", b"a%0Ab"),
        (b"\x7f", b"%7F"),
        (b".hg", b"%2Ehg"),
        (b"Hg~1", b"%48g~1"),
        (b".hG .", b"%2EhG ."),
    ],
)
def test_spellings_on_the_disk_never_change(name: bytes, component: bytes) -> None:
    assert encode(name) == component


@many
@given(paths)
def test_paths_come_back_and_are_legal(path: bytes) -> None:
    assert decode_path(encode_path(path)) == path
    assert is_legal(content_path(path))
    assert is_legal(meta_path(path))
    assert meta_directory(meta_path(path)) == path
    assert join(*split(path)) == path
    assert content_path(path).startswith(b"files/")


@many
@given(paths, paths)
def test_content_and_metadata_never_share_a_path(one: bytes, other: bytes) -> None:
    assert content_path(one) != meta_path(other)
    assert content_path(one).partition(b"/")[0] == b"files"
    assert meta_path(other) not in {meta_path(one) + b"/" + encode(b"x"), content_path(one)}


ALMOST = st.lists(
    st.sampled_from(
        [b"files", b"meta", b"facts", b"/", b"//", b"%meta", b"etc", b".", b"..", b".hg", b"%2E", b"%41", b"%", b"\n", b""]
    ),
    max_size=7,
).map(b"".join)  # fmt: skip


@many
@given(st.one_of(ALMOST, st.binary(max_size=40)))
@example(b"meta//%meta")
@example(b"meta/%meta")
@example(b"files/a//b")
def test_what_is_legal_has_one_spelling(store_path: bytes) -> None:
    if not is_legal(store_path):
        return
    top, _, rest = store_path.partition(b"/")
    if top == b"meta":
        assert meta_path(meta_directory(store_path)) == store_path
    else:
        assert top + b"/" + encode_path(decode_path(rest)) == store_path
    assert mercurial_takes(store_path)


@pytest.mark.parametrize(
    "store_path",
    [
        *(b"", b"files", b"files/", b"meta", b"meta/", b"facts", b"facts/", b"other/x", b"/files/x", b"files//x"),
        *(b"files/../up", b"files/a/..", b"files/.", b"files/a/./b", b"files/a/", b"files/.hg/hgrc", b"files/a/.HG"),
        *(b"files/hg~1", b"files/a\nb", b"files/a%0ab", b"files/%41", b"files/a%", b"files/a%4", b"files/%2F", b"files/%00"),
        *(b"meta/etc", b"meta/etc/meta", b"meta/etc/%META", b"meta/etc/%meta/x", b"meta/..//%meta", b"meta//%meta"),
        *(b"FILES/x", b"files\0/x", b"facts/..", b"facts/%2e", b"meta/%2E/%meta", b"files/%2Ehgx", b"meta/etc//%meta"),
    ],
)  # fmt: skip
def test_nothing_else_is_legal(store_path: bytes) -> None:
    assert not is_legal(store_path)


@pytest.mark.parametrize(
    "path", [b"files/etc/hosts", b"meta/%meta", b"meta/etc/%meta", b"facts/rules", b"facts/os/x"]
)
def test_legal_paths(path: bytes) -> None:  # fmt: skip
    assert is_legal(path)


@many
@given(st.binary(max_size=60))
def test_escapes_come_back(value: bytes) -> None:
    assert unescape(escape(value)) == value
    shown = escape_all(value)
    assert unescape(shown) == value
    assert all(0x20 < byte < 0x7F for byte in shown)


@pytest.mark.parametrize("text", [b"%", b"%4", b"%zz", b"%0a", b"a%-1", b"% 1", b"%+1", b"a%4\n"])
def test_malformed_escapes_are_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="escape"):
        unescape(text)


@pytest.mark.parametrize(
    "component", [b".", b"..", b"%2E", b"%2E%2E", b"", b"%00", b"a%2Fb", b"a\nb", b".hg", b"%61"]
)
def test_components_that_encode_cannot_make_are_refused(component: bytes) -> None:
    with pytest.raises(ValueError, match=r"name|escape"):
        decode(component)


def test_the_root_and_what_lies_below() -> None:
    assert split(b"/") == (b"/", b".")
    assert split(b"/etc") == (b"/", b"etc")
    assert join(b"/", b"etc") == b"/etc"
    assert join(b"/etc", b".") == b"/etc"
    assert (encode_path(b"/"), decode_path(b"")) == (b"", b"/")
    assert meta_path(b"/") == b"meta/%meta"
    assert meta_directory(b"meta/%meta") == b"/"
    assert is_below(b"/etc/a", b"/etc")
    assert is_below(b"/etc", b"/etc")
    assert is_below(b"/etc", b"/")
    assert not is_below(b"/etcetera", b"/etc")
    assert not is_below(b"/etc", b"/etc/a")
