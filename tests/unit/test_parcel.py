"""A parcel: what is rendered is what is read; whatever else comes is refused in words, unread contents and
all.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacha.core.errors import Refused
from pacha.core.parcel import Deployment, Item, Parcel, Script, Unit, Wishes, digest_of, render
from pacha.core.parcel_contents import pack, unpack
from pacha.core.parcel_line import LINE_AT_MOST, parse

NGINX, HOOK = b"worker_processes 4;\n" * 40, b"#!/bin/sh\nnginx -t\n"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


WHOLE = Deployment(
    name="webserver",
    revision="3f2a",
    items=(
        Item(b"/etc/nginx", b"dir", 0o755),
        Item(b"/etc/nginx/nginx.conf", b"file", 0o640, "root", "www-data", digest(NGINX), len(NGINX)),
        Item(b"/etc/nginx/copy\xff%\n", b"file", 0o644, "", "", digest(NGINX), len(NGINX)),
        Item(b"/etc/nginx/enabled", b"symlink", 0o777, target=b"../nginx/nginx.conf"),
    ),
    absent=(b"/etc/nginx/sites-enabled/default",),
    packages=("nginx-light", "libc6:i386"),
    restart=(Unit("nginx"), Unit("php8.2-fpm", ("/etc/php/**",))),
    reload=(Unit("getty@tty1"),),
    hooks=(Script("check", "10-nginx", digest(HOOK), len(HOOK)),),
)
CONTENTS = {digest(NGINX): NGINX, digest(HOOK): HOOK}


def values(**changes: Any) -> dict[str, Any]:
    """The first line of `WHOLE` as an object, some keys of its deployment changed."""
    line: dict[str, Any] = json.loads(render(Parcel(WHOLE, Wishes("anna@hub"))))
    line["deployment"] |= changes
    return line


def item(path: str = "/etc/a", **changes: Any) -> dict[str, Any]:
    plain = {
        "path": path,
        "kind": "file",
        "mode": "0644",
        "user": "",
        "group": "",
        "sha256": "0" * 64,
        "size": 1,
    }
    return plain | changes


def link(target: str, path: str = "/etc/a") -> dict[str, Any]:
    return {"path": path, "kind": "symlink", "mode": "0777", "user": "", "group": "", "target": target}


def line(given: Any) -> bytes:
    return json.dumps(given).encode() + b"\n"


def test_a_parcel_is_read_as_it_was_rendered() -> None:
    parcel = Parcel(WHOLE, Wishes("anna@hub", dry_run=True, force=False, diff=True), "zlib")
    assert parse(render(parcel)) == parcel
    assert digest_of(parse(render(parcel)).deployment) == digest_of(WHOLE)


@given(
    st.binary(min_size=1, max_size=60).filter(
        lambda name: not set(name) & set(b"/\0") and name not in (b".", b"..")
    )
)
def test_any_name_comes_through(name: bytes) -> None:
    one = Deployment("d", items=(Item(b"/etc/" + name, b"symlink", 0o777, target=name),))
    assert parse(render(Parcel(one))).deployment == one


@pytest.mark.parametrize("packing", ["zlib", "none"])
def test_contents_come_in_order_each_once(packing: str) -> None:
    chosen, body = pack(WHOLE, CONTENTS)
    assert (chosen, len(body) < len(NGINX)) == ("zlib", True)
    stream = BytesIO(body if packing == "zlib" else zlib.decompress(body))
    assert list(unpack(Parcel(WHOLE, packing=packing), stream.read)) == list(CONTENTS.items())


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "dot-dot": ({"items": [item("/etc/../root/x")]}, "not an absolute path"),
    "relative": ({"items": [item("etc/x")]}, "not an absolute path"),
    "the root": ({"items": [item("/")]}, "not an absolute path"),
    "an empty component": ({"absent": ["/etc//x"]}, "not an absolute path"),
    "a null byte": ({"items": [item("/etc/%00")]}, "not an absolute path"),
    "another spelling": ({"items": [item("/etc/%61")]}, "not escaped"),
    "raw bytes": ({"items": [item("/etc/ä")]}, "not escaped"),
    "a long name": ({"items": [item("/etc/" + "a" * 256)]}, "too long"),
    "a long path": ({"items": [item("/a" * 2048)]}, "too long"),
    "a device node": ({"items": [item(kind="char")]}, "neither file, directory"),
    "a fifo": ({"items": [item(kind="fifo")]}, "neither file, directory"),
    "below /proc": ({"items": [item("/proc/sys/kernel/core_pattern")]}, "the kernel"),
    "Pacha's own name": ({"items": [item("/etc/.pacha.0123456789abcdef.new")]}, "temporary"),
    "twice": ({"items": [item(), item()]}, "comes twice"),
    "made and absent": ({"items": [item()], "absent": ["/etc/a"]}, "comes twice"),
    "below a file": ({"items": [item(), item("/etc/a/b")]}, "lies below"),
    "below a link": ({"items": [link("/root"), item("/etc/a/b")]}, "lies below"),
    "below what goes": ({"items": [item("/etc/a/b")], "absent": ["/etc/a"]}, "lies below"),
    "a link out of the root": ({"items": [link("../../x")]}, "out of the root"),
    "a link in and out": ({"items": [link("b/../../../x")]}, "out of the root"),
    "an empty link": ({"items": [link("")]}, "is none"),
    "10 GB": ({"items": [item(size=10_000_000_000)]}, "at most"),
    "a negative size": ({"items": [item(size=-1)]}, "at most"),
    "many large": (
        {"items": [item(f"/etc/{n}", sha256=f"{n:064x}", size=64_000_000) for n in range(9)]},
        "more than 512,000,000",
    ),
    "two sizes": ({"items": [item("/etc/a"), item("/etc/b", size=2)]}, "two sizes"),
    "a mode in words": ({"items": [item(mode="u+s")]}, "form"),
    "a number for a text": ({"items": [item(user=0)]}, "another type"),
    "true for a size": ({"items": [item(size=True)]}, "another type"),
    "an option for a package": ({"packages": ["-oDpkg::Pre-Invoke=id"]}, "form"),
    "an option for a unit": ({"restart": [{"name": "--force", "paths": []}]}, "form"),
    "a path for a hook": (
        {"hooks": [{"moment": "check", "name": "../x", "sha256": "0" * 64, "size": 1}]},
        "form",
    ),
    "a hook that would be passed over": (
        {"hooks": [{"moment": "check", "name": "10-x~", "sha256": "0" * 64, "size": 1}]},
        "form",
    ),
    "a hook of another moment": (
        {"hooks": [{"moment": "post-capture", "name": "x", "sha256": "0" * 64, "size": 1}]},
        "none of",
    ),
    "an unknown key": ({"serial": 3}, "unknown here"),
    "an unknown key of a file": ({"items": [item(setuid=True)]}, "unknown here"),
    "a name with a slash": ({"name": "../x"}, "form"),
    "a revision of two lines": ({"revision": "a\nb"}, "no short text"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_may_not_be_said_is_refused(case: str) -> None:
    changes, words = REFUSED[case]
    with pytest.raises(Refused, match=words):
        parse(line(values(**changes)))


@pytest.mark.parametrize(
    "first", [b"", b"{}", b"{}\n", b"[]\n", b"null\n", b"\xff\n", b"[" * 100_000 + b"\n", b'{"format": 1}\n']
)
def test_what_is_no_line_is_refused(first: bytes) -> None:
    with pytest.raises(Refused):
        parse(first)


def test_a_line_without_an_end_is_refused_at_its_bound() -> None:
    with pytest.raises(Refused, match="longer"):
        parse(b" " * (LINE_AT_MOST + 1))


def test_another_format_is_told_as_that() -> None:
    with pytest.raises(Refused, match="format 2") as told:
        parse(line(values() | {"format": 2}))
    assert "same version" in told.value.hint


@given(st.binary(max_size=300))
def test_bytes_of_any_kind_are_refused_and_nothing_worse(garbage: bytes) -> None:
    with pytest.raises(Refused):
        parse(garbage)


def endless(data: bytes) -> Callable[[int], bytes]:
    return lambda size: (data * (size // len(data) + 1))[:size]


def bomb(size: int) -> Parcel:
    return Parcel(
        Deployment("d", items=(Item(b"/etc/a", b"file", 0o644, "", "", "0" * 64, size),)), packing="zlib"
    )


def test_a_bomb_is_cut_off_at_what_it_declared() -> None:
    packed = zlib.compress(b"\0" * 500_000)
    one = bomb(1000)
    zeros = digest(b"\0" * 1000)
    one = one._replace(
        deployment=one.deployment._replace(items=(one.deployment.items[0]._replace(sha256=zeros),))
    )
    with pytest.raises(Refused, match="more than it says"):
        list(unpack(one, BytesIO(packed).read))


def test_an_endless_stream_that_gives_nothing_is_cut_off() -> None:
    # Empty stored blocks: input without end, and not one byte of output.
    header, empty = b"\x78\x9c", b"\x00\x00\x00\xff\xff"
    source = BytesIO(header + empty * 1_000_000)
    with pytest.raises(Refused, match="longer packed"):
        list(unpack(bomb(10), source.read))
    assert source.tell() < 200_000


@pytest.mark.parametrize("packing", ["zlib", "none"])
def test_a_stream_cut_anywhere_is_refused(packing: str) -> None:
    _, body = pack(WHOLE, CONTENTS)
    body = body if packing == "zlib" else zlib.decompress(body)
    for length in range(len(body)):
        with pytest.raises(Refused):
            list(unpack(Parcel(WHOLE, packing=packing), BytesIO(body[:length]).read))


def test_a_content_that_is_another_is_refused() -> None:
    with pytest.raises(Refused, match="digest"):
        list(unpack(Parcel(WHOLE), endless(b"x")))
