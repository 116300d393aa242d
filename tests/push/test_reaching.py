"""What a pusher is told of hosts that it cannot push to, each in its own words, over real ssh."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacha.adapters.sessions import Sessions
from tests.agents import until
from tests.push.fleet import Fleet, fleet
from tests.sshd import free_port, make_key

SAID = """\
printf '{"phase": "verify"}\\n'; cat > /dev/null; printf '{"phase": "done", "ok": true, "steps": []}\\n'"""


@pytest.fixture
def them(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path) as made:
        made.deploy("motd", {"files/etc/motd": "hello\n"})
        yield made


def test_trouble_is_told_apart(them: Fleet) -> None:
    them.host("nothing", "sh -c pacha")  # the words of a shell that does not find it
    them.host("old", 'sh -c "echo \\"pacha: \'receive\' is no verb of pacha\\" >&2; exit 2"')
    them.host("dies", 'sh -c \'echo \\{\\"phase\\":\\"live\\"\\}; kill -9 $$\'')
    them.name("locked")
    them.name("refuses", Port=free_port())
    them.name("stranger", UserKnownHostsFile="/dev/null", IdentityFile=them.server.key("nothing"))
    make_key(them.place / "other")
    kind, data = (them.place / "other.pub").read_text().split()[:2]
    (them.place / "wrong").write_text(f"hub {kind} {data}\n")
    them.name("changed", UserKnownHostsFile=them.place / "wrong", IdentityFile=them.server.key("nothing"))
    names = ["nothing", "old", "dies", "locked", "refuses", "stranger", "changed", "no-such-name.invalid"]
    result, hosts, last = them.told("motd", *names)
    assert result.code == 1
    assert {name: (hosts[name]["state"], hosts[name]["error"]["kind"]) for name in names} == {
        "nothing": ("failed", "no-pacha"),
        "old": ("failed", "no-pacha"),
        "dies": ("failed", "lost"),
        "locked": ("unreachable", "permission"),
        "refuses": ("unreachable", "unreachable"),
        "stranger": ("unreachable", "host-key"),
        "changed": ("unreachable", "host-key"),
        "no-such-name.invalid": ("unreachable", "unreachable"),
    }
    assert last["hosts"]["failed"] == ["nothing", "old", "dies"]
    assert "not known here" in hosts["stranger"]["error"]["message"]
    assert "another host key" in hosts["changed"]["error"]["message"]
    _, _, command = hosts["changed"]["error"]["hint"].rpartition(": ")
    assert command == f"ssh-keygen -f {them.place}/wrong -R hub"
    subprocess.run(shlex.split(command), check=True, capture_output=True)
    assert (them.place / "wrong").read_text() == "", "what is said to do does it"
    assert hosts["dies"]["error"]["message"] == "the connection was lost during live"


def test_one_that_cannot_be_reached_is_no_others_business(them: Fleet) -> None:
    for name in ("web1", "web2"):
        them.host(name, SAID)
    them.name("locked")
    result = them.push("motd", "web1", "locked", "web2")
    assert result.code == 3
    assert "2 hosts  nothing to do  web1 web2" in result.out
    assert "locked   UNREACHABLE: it lets nobody in" in result.out
    assert "pacha push motd --retry" in result.err
    quiet = them.push("motd", "web1", "locked", "web2", "-q")
    assert "web1" not in quiet.out + quiet.err
    assert "locked  UNREACHABLE" in quiet.out


def test_retry_takes_those_that_are_left(them: Fleet) -> None:
    for name in ("web1", "web2"):
        them.host(name, SAID)
    them.name("locked")
    assert them.push("motd", "--retry").code == 2
    them.push("motd", "web1", "locked", "web2")
    _, hosts, _ = them.told("motd", "--retry")
    assert set(hosts) == {"locked"}
    them.ssh_config.write_text(them.ssh_config.read_text().replace("no-key", "key_web1"))
    assert them.push("motd", "--retry").code == 0
    them.name("away", Port=free_port())
    assert them.push("motd", "away").code == 1
    assert them.push("motd", "web1").code == 0
    assert them.told("motd", "--retry")[2]["hosts"]["unreachable"] == ["away"]
    assert "no host is left" in them.push("motd", "--retry", "web1").err


def test_connections_are_kept_and_used_again(them: Fleet) -> None:
    for name in ("web1", "web2"):
        them.host(name, SAID)
    assert them.push("motd", "web1", "web2").code == 0
    masters = them.masters()
    assert len(masters) == 2
    before = them.server.said().count("Accepted publickey")
    assert them.push("motd", "web1", "web2").code == 0
    assert them.server.said().count("Accepted publickey") == before == 2
    assert them.masters() == masters
    # No one else can go in and out by them.
    folders = [Path(f"/proc/{pid}/cmdline").read_bytes().split(b" ")[1] for pid in masters]
    assert all(os.stat(os.path.dirname(folder)).st_mode & 0o777 == 0o700 for folder in folders)


def test_a_kept_connection_that_has_died_is_made_anew(them: Fleet) -> None:
    them.host("web1", SAID)
    assert them.push("motd", "web1").code == 0
    for pid in them.server.sessions():
        subprocess.run(["kill", "-9", str(pid)], check=False)
    assert them.push("motd", "web1").code == 0


def test_nobody_is_pushed_to_before_everything_is_checked(them: Fleet) -> None:
    them.host("web1", SAID)
    folder = them.deploy(
        "motd", {"templates/etc/issue": "${only}\n", "pacha.toml": "[vars.web1]\nonly = 1\n"}
    )
    result = them.push("motd", "web1", "web2")
    assert result.code == 2
    assert "motd/templates/etc/issue:1: only has no value for web2" in result.err
    assert "Accepted" not in them.server.said()
    assert folder.exists()


@pytest.mark.parametrize("endless", ["cat /dev/zero", 'yes \'\\{\\"phase\\":\\"plan\\"\\}\''])
def test_one_that_never_stops_talking_is_cut_off(them: Fleet, endless: str) -> None:
    them.host("loud", f'sh -c "{endless}"')
    result = them.push("motd", "loud")
    assert result.code == 1
    assert "it said more than an answer can be" in result.out


def test_what_a_host_says_cannot_drive_the_terminal(them: Fleet) -> None:
    evil = "\\u001b[2J\\u202e"  # as JSON has them
    words = (
        f'{{"phase": "done", "ok": false, "error": {{"kind": "x", "message": "{evil}", "hint": "{evil}"}}, '
    )
    words += (
        f'"hooks": [{{"name": "{evil}", "exit": 1, "output": "{evil}"}}], "diffs": [{{"diff": "+{evil}"}}]}}'
    )
    (them.place / "answer").write_text(f"{words}\n")
    them.host("evil", f"cat {them.place}/answer")
    result = them.push("motd", "evil")
    assert result.code == 1
    assert "\\x1b[2J" in result.out
    assert not {"\x1b", "\u202e"} & set(result.out + result.err)


def test_one_that_is_given_up_is_heard_of_no_more(them: Fleet) -> None:
    them.host("silent", "sh -c 'cat >/dev/null; sleep 400'")
    sessions = Sessions(f"ssh -F {them.ssh_config}", str(them.pusher.state))
    try:
        sessions.start("silent", "pacha receive", [b"stream"])
        until(lambda: not sessions.wait(0.05) and "Accepted" in them.server.said())
        sessions.stop("silent")
        sessions.stop("silent")
        assert sessions.wait(0.2) == []
    finally:
        sessions.close()


def test_groups_are_those_of_the_configuration(them: Fleet) -> None:
    them.host("web1", SAID)
    them.configure('[groups]\nweb = ["web1"]\n')
    _, hosts, last = them.told("motd", "@web")
    assert set(hosts) == {"web1"}
    assert last["hosts"]["ok"] == ["web1"]
    assert "no group @db" in them.push("motd", "@db").err


def test_ctrl_c_lets_what_was_begun_end(them: Fleet) -> None:
    them.host("slow", "sh -c 'cat > /dev/null; sleep 3'")
    process = them.pusher.start("push", "motd", "slow", "-y")
    deadline = time.monotonic() + 20
    while "Accepted" not in them.server.said() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(2)
    result = them.pusher.finish(process)
    assert result.code == 130, result
    assert "Traceback" not in result.err
    assert json.loads((them.pusher.state / "push.json").read_text()) == {
        str(them.pusher.home / "motd"): ["slow"]
    }


@pytest.mark.parametrize("number", ["-1", "x", "1.5", ""])
def test_numbers_that_are_none_are_refused(them: Fleet, number: str) -> None:
    for option in ("--max-failures", "--batch", "--jobs"):
        result = them.push("motd", "web1", option, number)
        assert (result.code, "is no number of" in result.err) == (2, True), result


def test_without_a_terminal_it_asks_nobody(them: Fleet) -> None:
    result = them.pusher.run("push", "motd", "web1")
    assert result.code == 2
    assert "there is no terminal to ask on" in result.err
