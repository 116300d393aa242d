"""A push from end to end: a deployment, ssh, a real sshd, `pacha receive`, and the files on each host."""

from __future__ import annotations

import json
import os
import pty
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import until
from tests.docs.test_json import GENERAL, documented, fields, section
from tests.push.fleet import Fleet, Host, fleet

WEBSERVER = {
    "pacha.toml": '[owner."/etc/app/secret"]\nmode = "0600"\n[vars]\nworkers = 4\n[vars."web1"]\nworkers = 8\n',
    "files/etc/motd": "hello\n",
    "files/etc/app/secret": "hunter2\n",
    "templates/etc/app/workers": "workers = ${workers}  # ${pacha_host}\n",
}


@pytest.fixture
def them(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path, "web1", "web2") as made:
        made.deploy("web", WEBSERVER)
        yield made


def below(host: Host) -> dict[str, tuple[int, bytes]]:
    """Every file of a host with its mode and content: an oracle of its own."""
    found = {}
    for folder, _, names in os.walk(host.root):
        for name in names:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            content = os.readlink(path).encode() if os.path.islink(path) else Path(path).read_bytes()
            found[os.path.relpath(path, host.root)] = (status.st_mode & 0o7777, content)
    return found


def test_each_host_gets_its_own_and_then_there_is_nothing_to_do(them: Fleet) -> None:
    result, hosts, last = them.told("web", "web1", "web2")
    assert result.code == 0, result
    assert last["hosts"]["changed"] == ["web1", "web2"]
    for name, workers in (("web1", 8), ("web2", 4)):
        assert below(them.hosts[name]) == {
            "etc/motd": (0o644, b"hello\n"),
            "etc/app/secret": (0o600, b"hunter2\n"),
            "etc/app/workers": (0o644, f"workers = {workers}  # {name}\n".encode()),
        }
        assert {step["path"] for step in hosts[name]["steps"]} >= {
            "/etc/motd",
            "/etc/app/secret",
            "/etc/app/workers",
        }
    again = them.told("web", "web1", "web2")[2]
    assert again["hosts"]["ok"] == ["web1", "web2"]
    them.deploy("web", {"files/etc/motd": "good day\n"})
    assert "changed: 1 file" in them.push("web", "web2").out
    assert them.hosts["web2"].read("/etc/motd") == "good day\n"
    assert them.hosts["web1"].read("/etc/motd") == "hello\n"


def test_what_has_changed_is_called_what_it_is(them: Fleet) -> None:
    folder = them.deploy("kinds", {"files/etc/motd": "hello\n", "files/etc/issue": "hello\n"})
    (folder / "files/etc/app/spool").mkdir(parents=True)
    (folder / "files/etc/issue.net").symlink_to("issue")
    assert "web1  changed: 2 files, 2 directories, 1 link\n" in them.push("kinds", "web1").out
    assert "web1  nothing to do\n" in them.push("kinds", "web1").out
    hook = "#!/bin/sh\ntrue\n"
    them.deploy("kinds", {"hooks/post-push/1": hook})
    result = them.push("kinds", "web1", "web2")
    assert "web1  no file changed; 1 hook ran\n" in result.out
    assert "1 changed, 1 where only hooks ran" in result.out
    them.deploy("kinds", {"hooks/pre-push/1": hook})
    result, hosts, last = them.told("kinds", "web1")
    assert (result.code, hosts["web1"]["state"], last["hosts"]["ok"]) == (0, "ok", ["web1"])
    assert len(hosts["web1"]["hooks"]) == 2


def test_a_dry_run_shows_the_difference_and_touches_nothing(them: Fleet) -> None:
    assert them.push("web", "web1", "web2").code == 0
    them.deploy("web", {"files/etc/motd": "good day\n"})
    before = [below(host) for host in them.hosts.values()]
    result = them.pusher.run("push", "web", "web1", "web2", "-n")
    assert result.code == 0, result
    assert "2 hosts  would change: 1 file  web1 web2" in result.out
    assert result.out.count("-hello") == result.out.count("+good day") == 1, "hosts alike are shown once"
    assert [below(host) for host in them.hosts.values()] == before


def test_a_fix_by_hand_is_shown_and_not_lost(them: Fleet) -> None:
    assert them.push("web", "web1", "web2").code == 0
    them.hosts["web1"].write("/etc/motd", "fixed by hand\n")
    them.deploy("web", {"files/etc/motd": "good day\n"})
    looked = them.pusher.run("push", "web", "web1", "web2", "-n").out
    assert "web1  would change: 1 file (1 changed by hand)" in looked
    assert "/etc/motd  content, changed by hand" in looked
    result = them.push("web", "web1", "web2")
    assert result.code == 3, result
    assert them.hosts["web1"].read("/etc/motd") == "fixed by hand\n"
    assert them.hosts["web2"].read("/etc/motd") == "good day\n"
    assert "fixed by hand" in result.out
    assert them.push("web", "--retry", "--force").code == 0
    assert them.hosts["web1"].read("/etc/motd") == "good day\n"


def test_a_fix_that_is_no_difference_in_text_is_shown_too(them: Fleet) -> None:
    assert them.push("web", "web1").code == 0
    live = them.hosts["web1"].root / "etc/motd"
    live.chmod(0o600)
    result = them.push("web", "web1")
    assert result.code == 1, result
    assert "metadata  /etc/motd  mode 0600 → 0644, changed by hand" in result.out
    live.unlink()
    live.symlink_to("issue")
    result = them.push("web", "web1")
    assert "replace   /etc/motd  content, " in result.out, result
    assert live.is_symlink()


def test_a_check_that_says_no_leaves_everything(them: Fleet) -> None:
    assert them.push("web", "web1").code == 0
    before = below(them.hosts["web1"])
    them.deploy(
        "web", {"files/etc/motd": "bad\n", "hooks/check/10-no": "#!/bin/sh\necho 'this is wrong'\nexit 7\n"}
    )
    result = them.push("web", "web1")
    assert result.code == 1
    assert "FAILED during check" in result.out
    assert "exit 7" in result.out
    assert "this is wrong" in result.out
    assert below(them.hosts["web1"]) == before


def test_what_fails_when_it_is_live_is_undone(them: Fleet) -> None:
    assert them.push("web", "web1").code == 0
    before = below(them.hosts["web1"])
    them.deploy("web", {"files/etc/motd": "bad\n", "hooks/post-push/10-no": "#!/bin/sh\nexit 7\n"})
    result, hosts, last = them.told("web", "web1")
    assert (result.code, hosts["web1"]["state"]) == (1, "reverted"), result
    assert last["hosts"]["reverted"] == ["web1"]
    assert below(them.hosts["web1"]) == before
    assert "FAILED and was undone" in them.push("web", "web1").out


def test_every_field_is_documented(them: Fleet) -> None:
    them.deploy("web", {"hooks/check/10-yes": "#!/bin/sh\necho fine\n"})
    seen = set()
    for words in (("-n",), (), ()):
        result = them.pusher.run("push", "web", "web1", "gone.invalid", "-y", *words, "--json")
        for line in result.out.splitlines():
            seen.update(fields(json.loads(line)))
    assert not seen - documented(GENERAL) - documented(section("push"))


def test_many_hosts_in_batches(tmp_path: Path) -> None:
    names = [f"h{number}" for number in range(12)]
    with fleet(tmp_path, *names) as them:
        them.deploy("motd", {"files/etc/motd": "hello\n"})
        result = them.push("motd", *names, "--batch", "5", "--jobs", "4")
        assert result.code == 0, result
        assert "12 hosts" in result.out
        assert all(host.read("/etc/motd") == "hello\n" for host in them.hosts.values())


HELD = "#!/bin/sh\necho x >> {ran}\nuntil [ -e {gate} ]; do sleep 0.02; done\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_it_ends_what_it_has_begun_and_can_be_gone_on_with(tmp_path: Path, number: int) -> None:
    gate, ran = tmp_path / "gate", tmp_path / "ran"
    with fleet(tmp_path, "web1", "web2") as them:
        hook = HELD.format(ran=ran, gate=gate)
        them.deploy("motd", {"files/etc/motd": "hello\n", "hooks/post-push/10-wait": hook})
        process = them.pusher.start("push", "motd", "web1", "web2", "--jobs", "1", "-y")
        until(ran.exists)
        process.send_signal(number)
        time.sleep(0.3)
        assert process.poll() is None, "it waits for what it has begun"
        gate.touch()
        result = them.pusher.finish(process)
        assert result.code == 128 + number, result
        assert "stopping: no more hosts are begun" in result.err
        assert "1 changed, 1 not begun" in result.out
        assert (them.hosts["web1"].read("/etc/motd"), them.hosts["web2"].has("/etc/motd")) == (
            "hello\n",
            False,
        )
        again = them.push("motd", "--retry")
        assert again.code == 0, again
        assert them.hosts["web2"].read("/etc/motd") == "hello\n"
        assert ran.read_text() == "x\nx\n", "each host once"


def test_ended_at_once_it_knows_who_was_done(tmp_path: Path) -> None:
    gate, ran = tmp_path / "gate", tmp_path / "ran"
    with fleet(tmp_path, "web1", "web2", "web3") as them:
        folder = them.deploy("motd", {"files/etc/motd": "hello\n"})
        hook = HELD.format(ran=ran, gate=gate).replace("echo", "[ $PACHA_HOST = web1 ] && exit\necho")
        them.deploy("motd", {"hooks/post-push/10-wait": hook})
        process = them.pusher.start("push", "motd", "web1", "web2", "web3", "--jobs", "1", "-y")
        until(ran.exists)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        result = them.pusher.finish(process)
        gate.touch()
        assert result.code == 143, result
        left = json.loads((them.pusher.state / "push.json").read_text())
        assert left == {str(folder): ["web2", "web3"]}


def test_a_terminal_that_goes_away_does_not_cut_it_off(tmp_path: Path) -> None:
    gate, ran = tmp_path / "gate", tmp_path / "ran"
    with fleet(tmp_path, "web1", "web2") as them:
        hook = HELD.format(ran=ran, gate=gate)
        folder = them.deploy("motd", {"files/etc/motd": "hello\n", "hooks/post-push/10-wait": hook})
        words = them.pusher.argv("push", "motd", "web1", "web2", "--jobs", "1", "-y")
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(them.pusher.home)
            os.execve(words[0], words, them.pusher.environment() | {"TERM": "xterm"})
        until(ran.exists)
        os.close(terminal)
        time.sleep(0.5)
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
        gate.touch()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 129
        assert json.loads((them.pusher.state / "push.json").read_text()) == {str(folder): ["web2"]}


def test_a_look_beforehand_tells_of_hooks_that_would_run(them: Fleet) -> None:
    them.deploy("motd", {"files/etc/motd": "hello\n"})
    assert them.push("motd", "web1").code == 0
    them.deploy("motd", {"hooks/post-push/1": "#!/bin/sh\n", "hooks/on-failure/1": "#!/bin/sh\n"})
    look = them.pusher.run("push", "motd", "web1", "-n")
    assert "would change no file, and run 1 hook" in look.out
    done = them.push("motd", "web1")
    assert "no file changed; 1 hook ran" in done.out
