"""The two command lines that a session may begin with, and nothing else, to the byte."""

from __future__ import annotations

import pytest

from pacha.core.errors import Refused
from pacha.core.protocol import (
    ADMIN,
    HOST,
    PROTOCOL,
    READER,
    ROLES,
    Request,
    check_protocols,
    listing_words,
    parse_request,
    pulling_words,
    reading_words,
    request_words,
)

MACHINE = "0123456789abcdef" * 2


def test_a_clients_own_words_are_understood() -> None:
    assert parse_request(request_words(MACHINE), "web1") == Request(PROTOCOL, MACHINE)
    assert parse_request(request_words(""), "web1") == Request(PROTOCOL, "")
    assert parse_request(request_words("$(id) x"), "web1") == Request(PROTOCOL, "")


def test_a_stock_mercurial_names_the_keys_own_host() -> None:
    assert parse_request("hg -R web1 serve --stdio", "web1") == Request(None, "")
    assert parse_request("hg -R a.b-C_9 serve --stdio", "a.b-C_9") == Request(None, "")


def test_who_reads_names_a_host_and_says_what_for() -> None:
    for role in (READER, ADMIN):
        assert parse_request(reading_words("web1"), "laptop", role) == Request(PROTOCOL, "", "web1", "read")
        assert parse_request("hg -R web1 serve --stdio", "laptop", role) == Request(None, "", "web1", "read")
        assert parse_request(listing_words(), "laptop", role) == Request(PROTOCOL, "", "", "list")
    rebuild = reading_words("web1", rebuild=True)
    assert parse_request(rebuild, "laptop", ADMIN) == Request(PROTOCOL, "", "web1", "rebuild")
    assert parse_request(rebuild, "web1") == Request(PROTOCOL, "", "web1", "rebuild")
    assert parse_request(reading_words("web1"), "web1") == Request(PROTOCOL, "", "web1", "read")


def test_a_host_pulls_a_deployment_and_says_no_host() -> None:
    asked = parse_request(pulling_words("base"), "web1")
    assert asked == Request(PROTOCOL, "", "", "pull", "base")


@pytest.mark.parametrize(
    ("words", "name", "role"),
    [
        (request_words(MACHINE), "laptop", READER),
        (request_words(""), "laptop", ADMIN),
        (reading_words("web1", rebuild=True), "laptop", READER),
        (reading_words("web2"), "web1", HOST),
        (reading_words("web2", rebuild=True), "web1", HOST),
        (listing_words(), "web1", HOST),
        (pulling_words("base"), "laptop", READER),
        (pulling_words("base"), "laptop", ADMIN),
    ],
)
def test_a_role_does_no_more_than_it_may(words: str, name: str, role: str) -> None:
    with pytest.raises(Refused):
        parse_request(words, name, role)


HOSTILE = [
    "", " ", "id", "sh", "/bin/sh", "bash -i", "-i", "-l", "scp -t /tmp", "rsync --server .",
    "/usr/lib/openssh/sftp-server", "internal-sftp", "git-upload-pack 'x'", "hg", "hg serve --stdio", "pacha",
    "hg -R --debugger serve --stdio", "hg -R web1 serve --stdio --debugger", "hg -R web1 serve  --stdio",
    "hg -R web1 serve --stdio ", " hg -R web1 serve --stdio", "hg -R web1 serve --stdio\n", "\nhg -R web1 serve --stdio",
    "hg -R web1 serve --stdio\x00", "hg -R web1\tserve --stdio", "hg -R web1/ serve --stdio",
    "hg -R ./web1 serve --stdio", "hg -R /var/lib/pacha/hosts/web1 serve --stdio", "hg -R ../web1 serve --stdio",
    "hg -R web1/../web2 serve --stdio", "hg -R 'web1' serve --stdio", 'hg -R "web1" serve --stdio',
    "hg -R web2 serve --stdio", "hg -R WEB1 serve --stdio", "hg -R web1% serve --stdio", "hg -R . serve --stdio",
    "hg -R web1 --config ui.x=y serve --stdio", "hg --config ui.x=y -R web1 serve --stdio",
    "hg -R web1 serve --stdio --config hooks.x=id", "hg -R web1 serve --stdio; id", "hg -R web1 serve --stdio && id",
    "hg -R web1 serve --stdio | id", "hg -R web1 serve --stdio > /tmp/x", "hg -R $(id) serve --stdio",
    "hg -R `id` serve --stdio", "hg -R web1 serve --cmdserver pipe", "hg -R web1 init", "hg init web1",
    "hg -R web1 strip tip", "hg clone web1 x", "hg -R .archive serve --stdio", "hg -R -web1 serve --stdio",
    "hg -R ssh://web1 serve --stdio", "hg -R bundle:web1 serve --stdio", "hg -R wéb1 serve --stdio",
    "hg -R w\N{LATIN SMALL LETTER E}b\N{FULLWIDTH DIGIT ONE} serve --stdio", "hg.exe -R web1 serve --stdio",
    "pacha serve", "pacha serve --host web2", "pacha serve --protocol 1 --host web2", "pacha serve --protocol",
    "pacha serve --protocol 0", "pacha serve --protocol -1", "pacha serve --protocol 01", "pacha serve --protocol 1 ",
    "pacha serve --protocol 99999", "pacha serve --protocol \N{ARABIC-INDIC DIGIT ONE}", "pacha serve --protocol=1",
    "pacha serve --protocol 1 --machine", "pacha serve --protocol 1 --machine a b",
    "pacha serve --protocol 1 --machine a --state /tmp", "pacha serve --protocol 1 --config /tmp/x",
    "pacha serve --protocol 1 --machine a\nid", "pacha serve --protocol 1 --machine $(id)",
    "pacha serve --protocol 1 --machine " + "a" * 65, "pacha host add x", "pacha log --host web2",
    "pacha  serve --protocol 1", "PACHA serve --protocol 1", "/usr/bin/pacha serve --protocol 1", "x" * 100_000,
    "\x1b]0;title\x07", "hg -R web1 serve --stdio\x1b[2J", "pacha serve --protocol 1 --read", "pacha serve --protocol 1 --read ",
    "pacha serve --protocol 1 --read ../web1", "pacha serve --protocol 1 --read -x", "pacha serve --protocol 1 --read web1/x",
    "pacha serve --protocol 1 --read .archive", "pacha serve --protocol 1 --read web1 web2", "pacha serve --read web1",
    "pacha serve --protocol 1 --read web1 --machine a", "pacha serve --protocol 1 --read web1 --rebuild --rebuild",
    "pacha serve --protocol 1 --rebuild", "pacha serve --protocol 1 --list web1", "pacha serve --protocol 1 --list --read web1",
    "pacha serve --protocol 1 --role admin", "pacha serve --role admin --name x", "pacha serve --protocol 1 --read web1\n",
    "pacha serve --protocol 1 --deployment", "pacha serve --protocol 1 --deployment ", "pacha serve --deployment base",
    "pacha serve --protocol 1 --deployment ../base", "pacha serve --protocol 1 --deployment base/..", "pacha serve --protocol 1 --deployment .",
    "pacha serve --protocol 1 --deployment ..", "pacha serve --protocol 1 --deployment -x", "pacha serve --protocol 1 --deployment base base",
    "pacha serve --protocol 1 --deployment base --host web2", "pacha serve --protocol 1 --machine a --deployment base",
    "pacha serve --protocol 1 --deployment base\n", "pacha serve --protocol 1 --deployment $(id)", "pacha serve --protocol 1 --deployment b\x00",
    "pacha serve --protocol 1 --deployment " + "a" * 65,
]  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("words", HOSTILE)
def test_everything_else_is_refused_on_one_printable_line(words: str, role: str) -> None:
    if role != HOST and words in ("hg -R web2 serve --stdio", "hg -R WEB1 serve --stdio"):
        pytest.skip("whoever reads may name any host, and is told then whether there is one")
    with pytest.raises(Refused) as refusal:
        parse_request(words, "web1", role)
    said = str(refusal.value)
    assert said.isprintable()
    assert said.isascii()
    assert len(said) < 400


def test_one_apart_works_and_further_says_whom_to_update() -> None:
    check_protocols(1, 2)
    check_protocols(2, 1)
    with pytest.raises(Refused, match="client speaks protocol 3 and the server 1") as refusal:
        check_protocols(3, 1)
    assert refusal.value.hint == "update Pacha on the server"
    with pytest.raises(Refused) as refusal:
        parse_request(f"pacha serve --protocol {PROTOCOL + 2}", "web1")
    assert "server" in refusal.value.hint
