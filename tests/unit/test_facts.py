"""Facts as texts: what is rendered is read again, and differences are told in words."""

from __future__ import annotations

import pytest

from pacha.core.facts import OS, WANTED, Facts, Package, describe, parse, render
from pacha.core.names import is_legal

FACTS = Facts(
    {"id": "debian", "version": "12", "name": "Debian 12 (bookworm) 100%"},
    {
        "apt": {
            b"nginx-light": Package(b"1.22.1-9"),
            b"linux": Package(b"6.1", is_held=True, is_automatic=True),
        }
    },
    ("postgresql", "nginx"),  # type: ignore[arg-type]
    {b"/usr/share/keyrings/a b.gpg": b"\0key\n"},
)


def test_what_is_rendered_is_read_again() -> None:
    wanted = FACTS._replace(wanted=(b"nginx", b"postgresql"))
    texts = render(wanted)
    assert texts[b"facts/packages/apt"] == b"linux 6.1 held automatic\nnginx-light 1.22.1-9\n"
    assert texts[OS].splitlines()[2] == b"name Debian 12 (bookworm) 100%25"
    assert texts[WANTED] == b"nginx\npostgresql\n"
    assert all(map(is_legal, texts))
    assert parse(texts) == wanted


def test_a_fact_of_a_later_version_is_passed_over() -> None:
    assert parse({b"facts/weather": b"rain\n"}) == Facts({}, {}, (), {})


@pytest.mark.parametrize("line", [b"-oDir=/ 1", b"nginx -1", b"nginx", b" 1"])
def test_what_could_be_taken_for_an_option_is_no_package(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"package|unpack"):
        parse({b"facts/packages/apt": line + b"\n"})


def test_differences_in_words() -> None:
    before = {b"facts/packages/apt": b"curl 1\nnano 1\nvim 1\n"}
    after = {b"facts/packages/apt": b"curl 2\nnano 1 held\nnginx 1\n"}
    assert describe(before, after) == "curl now 2, nano held, nginx installed, vim removed"
    assert describe(before, {**before, OS: b"id debian\n"}) == "the system is another one"
