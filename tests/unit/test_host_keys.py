"""The text of the pinned host keys, and the ssh command lines that go by it."""

from __future__ import annotations

import subprocess

import pytest

from pacha.core.authorized_keys import PublicKey
from pacha.core.errors import ConfigError
from pacha.core.host_keys import keys_in, pinned, with_pins
from pacha.core.ssh_command import is_joined, ssh_words

ONE, TWO = PublicKey("ssh-ed25519", "AAAA1"), PublicKey("ssh-rsa", "AAAA2")


def test_pins_are_kept_for_each_server() -> None:
    text = with_pins("", "pacha@hub", "hub.example.com", [ONE, TWO])
    assert text == "# pacha@hub\nhub.example.com ssh-ed25519 AAAA1\nhub.example.com ssh-rsa AAAA2\n"
    both = with_pins(text, "pacha@hub2", "[hub2]:2222", [TWO])
    assert both == text + "# pacha@hub2\n[hub2]:2222 ssh-rsa AAAA2\n"
    assert pinned(both, "pacha@hub") == [ONE, TWO]
    assert pinned(both, "pacha@hub2") == [TWO]
    assert pinned(both, "hub") == []
    again = with_pins(both, "pacha@hub", "hub.example.com", [TWO])
    assert pinned(again, "pacha@hub") == [TWO]
    assert pinned(again, "pacha@hub2") == [TWO]
    assert is_joined(again, "pacha@hub") and not is_joined(again, "pacha@hu")


def test_lines_that_are_no_keys_are_passed_over() -> None:
    lines = ["# a note", "@revoked * ssh-ed25519 AAAA9", "hub ssh-ed25519", "", "hub ssh-ed25519 AAAA1"]
    assert keys_in(lines) == [ONE]


def effective(words: list[str]) -> dict[str, str]:
    """What ssh makes of a command line."""
    done = subprocess.run([*words, "-G", "--", "hub.example.com"], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def test_ssh_goes_by_what_join_made_and_asks_nothing() -> None:
    joined = effective(ssh_words("ssh -F /dev/null", "/a b/%h/id", "/a b/%h/pins"))
    assert joined["userknownhostsfile"] == "/a b/%h/pins"
    assert joined["globalknownhostsfile"] == "/dev/null"
    assert joined["stricthostkeychecking"] == "true"
    assert joined["identitiesonly"] == "yes"
    assert joined["batchmode"] == "yes"
    assert joined["forwardagent"] == "no"
    assert (joined["serveraliveinterval"], joined["serveralivecountmax"]) == ("15", "4")


def test_without_join_the_persons_own_files_decide() -> None:
    own = effective(ssh_words("ssh -F /dev/null"))
    assert "known_hosts" in own["userknownhostsfile"] and "pins" not in own["userknownhostsfile"]
    assert own["stricthostkeychecking"] == "ask", "which in batch mode is a refusal"
    assert own["identitiesonly"] == "no"


@pytest.mark.parametrize("ssh", ["ssh -F 'x", " "])
def test_a_command_that_is_none_is_the_configurations_fault(ssh: str) -> None:
    with pytest.raises(ConfigError, match="ssh"):
        ssh_words(ssh)
