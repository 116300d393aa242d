"""The text of authorized_keys: Pacha's lines between its markers, and nobody else's touched."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pacha.core.authorized_keys import (
    BEGIN,
    END,
    PublicKey,
    forced_line,
    hosts_of,
    other_line,
    parse_key,
    with_hosts,
)
from pacha.core.errors import ConfigError, Failed, UsageError

PERSON = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGlq anna@laptop\n"


def new_key(folder: Path, kind: str = "ed25519", *more: str) -> str:
    path = folder / f"key-{len(list(folder.iterdir()))}"
    words = ["ssh-keygen", "-q", "-t", kind, *more, "-N", "", "-C", "a comment", "-f", str(path)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    return path.with_name(path.name + ".pub").read_text()


@pytest.mark.parametrize("kind", [("ed25519",), ("ecdsa",), ("rsa", "-b", "2048")], ids=lambda kind: kind[0])
def test_a_key_is_read_and_has_the_fingerprint_that_ssh_keygen_shows(
    tmp_path: Path, kind: tuple[str, ...]
) -> None:
    text = new_key(tmp_path, *kind)
    key = parse_key(f"# of web1\n\n{text}")
    assert str(key) == " ".join(text.split()[:2])
    shown = subprocess.run(["ssh-keygen", "-lf", "-"], input=text, capture_output=True, text=True, check=True)
    assert key.fingerprint == shown.stdout.split()[1]
    assert f"({key.sort})" == shown.stdout.split()[-1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is no key in it"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n", "a private key"),
        (PERSON + PERSON, "2 lines"),
        ("ssh-ed25519", "no public key"),
        ("ssh-ed25519 AAAA", "no public key"),
        ("ssh-ed25519 !!!!", "no public key"),
        ("ssh-dss AAAAB3NzaC1kc3MAAACBAP", "no public key"),
        ('command="sh" ' + PERSON, "no public key"),
        ("ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIFGNyX1aB3T7b2YtQz1N1y9mG3xq3QmS8y1t6Zz8o1aB x", "no public key"),
    ],
)
def test_what_is_no_key_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse_key(text)
    assert caught.value.hint


def test_every_word_of_the_command_reaches_the_program(tmp_path: Path) -> None:
    key = parse_key(new_key(tmp_path))
    odd = ["/opt/my pacha/it's", "--state", '/srv/a "b" \\', "$(id)", "serve", "--host", "web1"]
    line = forced_line(odd, "web1", key)
    assert line.startswith('restrict,command="') and line.endswith(f'" {key} pacha:web1')
    # As sshd reads it (a backslash protects a quotation mark, nothing else), and then a shell.
    command = line.partition('command="')[2].rpartition(f'" {key}')[0].replace('\\"', '"')
    said = subprocess.run(
        ["sh", "-c", f"printf '%s\\0' {command}"], capture_output=True, text=True, check=True
    )
    assert said.stdout.split("\0")[:-1] == odd


def test_a_control_character_in_a_path_makes_no_line() -> None:
    with pytest.raises(Failed, match="control character"):
        forced_line(["/opt/a\nb"], "web1", PublicKey("ssh-ed25519", "AAAA"))


def test_lines_come_and_go_between_the_markers_only() -> None:
    text = with_hosts(PERSON.rstrip("\n"), {"web1": "one pacha:web1", "web2": "two pacha:web2"})
    assert text == f"{PERSON}{BEGIN}\none pacha:web1\ntwo pacha:web2\n{END}\n"
    assert hosts_of(text) == {"web1": "one pacha:web1", "web2": "two pacha:web2"}
    text += "# a note\n" + PERSON
    text = with_hosts(text, {"web1": "new pacha:web1", "web3": "three pacha:web3"}, gone=["web2"])
    lines = f"{BEGIN}\nnew pacha:web1\nthree pacha:web3\n{END}\n"
    assert text == f"{PERSON}{lines}# a note\n{PERSON}"
    assert with_hosts(text, {}) == text
    assert with_hosts("", {}) == ""
    assert with_hosts(PERSON, {}, gone=["web1"]) == PERSON


def test_another_pachas_line_and_a_persons_note_between_the_markers_stay() -> None:
    text = f"{BEGIN}\n# a note\nother pacha:db1\n{PERSON}{END}\n"
    assert with_hosts(text, {"web1": "one pacha:web1"}) == (
        f"{BEGIN}\n# a note\nother pacha:db1\n{PERSON}one pacha:web1\n{END}\n"
    )


def test_a_host_that_has_two_lines_has_one_afterwards() -> None:
    text = f"{BEGIN}\na pacha:web1\nb pacha:web1\n{END}\n"
    assert with_hosts(text, {"web1": "c pacha:web1"}) == f"{BEGIN}\nc pacha:web1\n{END}\n"
    assert with_hosts(text, {}, gone=["web1"]) == f"{BEGIN}\n{END}\n"


@pytest.mark.parametrize(
    "text", [f"{BEGIN}\n", f"{END}\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n"]
)
def test_markers_that_are_not_one_pair_are_left_to_a_person(text: str) -> None:
    with pytest.raises(ConfigError, match=r"authorized_keys, line \d: .* is out of place") as caught:
        with_hosts(text, {"web1": "one pacha:web1"})
    assert "by hand" in caught.value.hint


def test_a_key_that_stands_elsewhere_too_is_found(tmp_path: Path) -> None:
    key = parse_key(new_key(tmp_path))
    own = forced_line(["/usr/bin/pacha", "serve"], "web1", key)
    text = with_hosts("# first\n", {"web1": own})
    assert other_line(text, key, "web1") == 0
    assert other_line(text, key, "web2") == 3
    assert other_line(text + f"{key} anna\n", key, "web1") == 5
    assert other_line(f"# {key}\n", key, "web1") == 0
