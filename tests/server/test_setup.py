"""Setting up in minutes: `server init`, `join`, `host …`, with a real sshd between them."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents import until
from tests.command import Pacha, Result
from tests.sshd import PRIVATE_RUN, PROGRAM, SEPARATION, Sshd, make_key, runs, sshd
from tests.steps import on_terminal

CONFIG = """\
Host hub web9
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {key}
    IdentityAgent none
    UserKnownHostsFile {known}
    GlobalKnownHostsFile /dev/null
Host hub
    HostKeyAlias hub
"""
PERSON = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGlq anna@laptop\n"


class Site:
    """A server under its own sshd, and hosts that are to become its clients."""

    def __init__(self, place: Path, server: Sshd, hub: Pacha) -> None:
        self.place, self.sshd, self.hub = place, server, hub

    @property
    def keys(self) -> str:
        return self.sshd.authorized_keys.read_text()

    def host(self, name: str, *, captured: bool = False) -> Pacha:
        """A host whose ssh knows the way to `hub` and nothing of its keys; `captured`: with a history."""
        pacha = Pacha.at(self.place / name)
        config = pacha.home / "ssh_config"
        known = pacha.home / "known"
        config.write_text(
            CONFIG.format(port=self.sshd.port, user=self.sshd.user, key="/dev/null", known=known)
        )
        pacha.config.write_text(f'host = "{name}"\nssh = "ssh -F {config}"\n')
        if not captured:
            return pacha
        tree = pacha.home / "tree"
        tree.mkdir()
        (tree / "hosts").write_text("127.0.0.1 localhost\n")
        (tree / "shadow").write_text("root:*:1::::::\n")
        (tree / "shadow").chmod(0o600)
        pacha.ok("watch", tree)
        return pacha

    def client(self, name: str, *, captured: bool = False) -> tuple[Pacha, dict[str, Any]]:
        """A host that was let in by this server, made one for it, and what its `join` told."""
        self.hub.ok("server", "init")
        pacha = self.host(name, captured=captured)
        told = pacha.ok("join", "hub", "-y")
        assert self.on_the_server(told["command"]).code == 0
        return pacha, told

    def received(self, pacha: Pacha, name: str) -> Path:
        """The host's history as the server would have it after a push; where it is."""
        store = self.hub.state / "hosts" / name
        subprocess.run(["cp", "-a", str(pacha.store), str(store)], check=True)
        return store

    def fingerprint(self) -> str:
        """Of the server's host key, as ssh-keygen shows it."""
        words = ["ssh-keygen", "-lf", str(self.sshd.folder / "host_key.pub")]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[1]

    def on_the_server(self, command: str) -> Result:
        """Run what `join` printed, as it was printed."""
        tools = self.place / "bin"
        tools.mkdir(exist_ok=True)
        tool = tools / "pacha"
        tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pacha "$@"\n')
        tool.chmod(0o755)
        environment = {**self.hub.environment(), "PATH": f"{tools}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True)
        return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    hub = Pacha.at(tmp_path / "hub")
    keys = hub.home / ".ssh" / "authorized_keys"
    keys.parent.mkdir(mode=0o700)
    keys.write_text(PERSON)
    keys.chmod(0o600)
    with sshd(tmp_path / "sshd", authorized_keys=keys) as server:
        # As the harness starts it, so that it tells its settings: they are asked for with more words behind.
        tool = tmp_path / "sshd-as-here"
        wrapped = shlex.join(PRIVATE_RUN) if os.geteuid() == 0 and not SEPARATION.is_dir() else "exec"
        tool.write_text(f'#!/bin/sh\n{wrapped} {PROGRAM} -f {server.folder}/sshd_config "$@"\n')
        tool.chmod(0o755)
        hub.config.write_text(f'[serve]\nsshd = "{tool}"\n')
        yield Site(tmp_path, server, hub)


def test_a_server_and_a_client_are_set_up_with_three_commands(site: Site) -> None:
    made = site.hub.run("server", "init")
    assert made.code == 0, made
    assert "this machine is a server, as the account" in made.out
    assert "pacha join" in made.out.splitlines()[-2]
    assert site.keys == PERSON

    web1 = site.host("web1", captured=True)
    joined = web1.run("join", "hub", "--fingerprint", site.fingerprint())
    assert joined.code == 0, joined
    assert "clear     1 captured file" in joined.out
    assert "tree/shadow" in joined.out
    (command,) = [line for line in joined.out.splitlines() if "pacha host add" in line]

    let_in = site.on_the_server(command)
    assert let_in.code == 0 and let_in.out.startswith("host web1 is let in"), let_in
    assert site.keys.startswith(PERSON + "# pacha: begin\nrestrict,command=")

    again = web1.run("join", "hub")
    assert again.code == 0 and "joined    hub lets this host in" in again.out, again
    assert 'server = "hub"' in web1.config.read_text()
    assert web1.ok("config", "--check")
    (host,) = site.hub.ok("host", "list")["hosts"]
    assert (host["host"], host["removed"], host["quota"]) == ("web1", False, 2_000_000_000)


@pytest.fixture
def web9(site: Site) -> Path:
    """A host with Pacha, and the key to it of a person on the server; the key."""
    site.hub.ok("server", "init")
    admin = site.sshd.folder / "admin"
    make_key(admin)
    site.sshd.authorize(admin)
    pacha = site.host("web9")
    # What runs at the other end: that host's own Pacha, in that host's own surroundings.
    there = site.place / "there"
    there.mkdir()
    settings = " ".join(f"{name}={value}" for name, value in pacha.environment().items() if name != "PATH")
    (there / "pacha").write_text(f'#!/bin/sh\nexec env {settings} "{sys.executable}" -m pacha "$@"\n')
    (there / "pacha").chmod(0o755)
    site.sshd.stop()
    # The first such line is the one that counts, also for the harness's own HOME.
    site.sshd.options = [f'SetEnv "PATH={there}:{os.environ["PATH"]}" HOME={site.sshd.folder}']
    site.sshd.start()
    config = site.hub.home / "ssh_config"
    known = site.sshd.folder / "known_as_web9"
    public = (site.sshd.folder / "host_key.pub").read_text()
    known.write_text(f"[127.0.0.1]:{site.sshd.port} {public}")
    config.write_text(CONFIG.format(port=site.sshd.port, user=site.sshd.user, key=admin, known=known))
    site.hub.config.write_text(f'ssh = "ssh -F {config}"\n' + site.hub.config.read_text())
    return admin


@pytest.mark.usefixtures("web9")
def test_the_server_does_both_ends(site: Site) -> None:
    done = site.hub.run("host", "add", "web9", "--ssh", "web9", "--address", "hub")
    assert done.code == 0, done
    assert "web9 has joined hub" in done.out
    assert [host["host"] for host in site.hub.ok("host", "list")["hosts"]] == ["web9"]
    wrong = site.hub.run("host", "add", "web1", "--ssh", "web9", "--address", "hub")
    assert wrong.code == 1 and "calls itself web9, not web1" in wrong.err


def test_what_ssh_asks_the_person_answers(site: Site, web9: Path) -> None:
    """At the terminal, as for a password; without one it is told what to try."""
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "open sesame", "-f", web9], check=True)
    words = ("host", "add", "web9", "--ssh", "web9", "--address", "hub")
    blind = site.hub.run(*words, before=("setsid", "-w"))
    assert blind.code == 1 and "Permission denied" in blind.err, blind
    assert "ssh web9 pacha --version" in blind.err
    code, shown = on_terminal(site.hub, *words, answer=b"open sesame\n", questions=[b"passphrase"] * 2)
    assert code == 0, shown
    assert "web9 has joined hub" in shown


def test_an_unknown_host_key_is_shown_and_not_taken(site: Site) -> None:
    site.hub.ok("server", "init")
    web1 = site.host("web1")
    refused = web1.run("join", "hub")
    assert refused.code == 2
    assert f"hub shows the host key {site.fingerprint()} (ED25519), which nothing here knows" in refused.err
    assert "server =" not in web1.config.read_text()
    wrong = web1.run("join", "hub", "--fingerprint", "SHA256:something")
    assert wrong.code == 1 and "shows another host key" in wrong.err
    assert web1.run("join", "hub", "-y").code == 0


def test_a_host_key_that_the_persons_ssh_knows_is_taken(site: Site) -> None:
    web1 = site.host("web1")
    folder = web1.home / ".ssh"
    folder.mkdir()
    (folder / "known_hosts").write_text("hub " + (site.sshd.folder / "host_key.pub").read_text())
    assert web1.run("join", "hub").code == 0


def test_a_server_in_between_gets_nothing(site: Site, tmp_path: Path) -> None:
    web1 = site.host("web1")
    assert web1.run("join", "hub", "-y").code == 0
    site.sshd.stop()
    (site.sshd.folder / "host_key").unlink()
    make_key(site.sshd.folder / "host_key")
    site.sshd.start()
    refused = web1.run("join", "hub")
    assert refused.code == 1
    assert "hub shows another host key than the pinned one" in refused.err
    assert "Accepted" not in site.sshd.said()
    assert web1.run("join", "hub", "--fingerprint", site.fingerprint()).code == 0


def session_of(site: Site, pacha: Pacha) -> subprocess.Popen[bytes]:
    """An open session of a joined host, by a connection that could open more."""
    config = (pacha.home / "ssh_config").as_posix()
    key, pins = pacha.state / "ssh" / "id_ed25519", pacha.state / "ssh" / "known_hosts"
    master = ["-o", "ControlMaster=auto", "-o", f"ControlPath={pacha.home}/master", "-o", "ControlPersist=no"]
    words = ["ssh", "-F", config, "-i", str(key), "-o", f"UserKnownHostsFile={pins}", *master, "hub"]
    process = subprocess.Popen(
        [*words, "pacha serve --protocol 1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"pacha\n")
    process.stdin.flush()
    length = int(process.stdout.readline())
    assert json.loads(process.stdout.read(length))["host"] == "web1"
    return process


@pytest.mark.parametrize("verb", ["rekey", "remove"])
def test_a_new_key_and_a_removal_end_what_is_open(site: Site, verb: str) -> None:
    web1, told = site.client("web1")
    assert web1.ok("join", "hub")["let_in"]
    process = session_of(site, web1)
    (pid,) = map(int, os.listdir(site.hub.state / "server" / "web1" / "sessions"))
    other = site.sshd.folder / "other"
    make_key(other)
    more = ["--key", other.with_name("other.pub")] if verb == "rekey" else []
    started = time.monotonic()
    done = site.hub.run("host", verb, "web1", *more)
    assert done.code == 0 and "1 open session ended" in done.out, done
    assert time.monotonic() - started < 5
    until(lambda: not runs(pid))
    assert process.wait(10) != 0, "the connection has ended too, and no other session can be opened in it"
    assert web1.ok("join", "hub")["let_in"] is False
    assert (str(told["key"]) in site.keys) is False


def test_a_removed_hosts_history_stays_until_it_is_purged(site: Site) -> None:
    web1, _ = site.client("web1", captured=True)
    store = site.received(web1, "web1")
    removed = site.hub.run("host", "remove", "web1")
    assert removed.code == 0 and "its history stays" in removed.out
    (left,) = site.hub.ok("host", "list")["hosts"]
    assert left["removed"] and left["used"] > 0
    asks = site.hub.run("host", "remove", "web1", "--purge")
    assert asks.code == 2 and "add -y" in asks.err and store.exists()
    assert site.hub.run("host", "remove", "web1", "--purge", "-y").code == 0
    assert not store.exists()
    assert site.hub.ok("host", "list")["hosts"] == []
    assert site.hub.run("host", "remove", "web1").code == 2


def test_a_reset_keeps_the_old_line(site: Site) -> None:
    web1, _ = site.client("web1", captured=True)
    store = site.received(web1, "web1")
    done = site.hub.ok("host", "reset", "web1")
    assert not store.exists()
    assert (Path(done["archived"]) / ".hg" / "store" / "00changelog.i").exists()
    assert Path(done["archived"]).parent == site.hub.state / "hosts" / ".archive"
    assert web1.ok("join", "hub")["let_in"]


def test_a_key_opens_one_door(site: Site) -> None:
    site.hub.ok("server", "init")
    make_key(site.sshd.folder / "one")
    public = site.sshd.folder / "one.pub"
    assert site.hub.run("host", "add", "web1", "--key", public).code == 0
    second = site.hub.run("host", "add", "web2", "--key", public)
    assert second.code == 1 and "this key is that of host web1" in second.err
    make_key(site.sshd.folder / "shell")
    site.sshd.authorize(site.sshd.folder / "shell")
    third = site.hub.run("host", "add", "web3", "--key", site.sshd.folder / "shell.pub")
    assert third.code == 1 and "this key opens another door here" in third.err
    make_key(site.sshd.folder / "two")
    other = site.hub.run("host", "add", "web1", "--key", site.sshd.folder / "two.pub")
    assert other.code == 1 and "pacha host rekey web1" in other.err
    private = site.hub.run("host", "add", "web4", "--key", site.sshd.folder / "two")
    assert private.code == 2 and "private key" in private.err
    assert len(site.hub.ok("host", "list")["hosts"]) == 1


def test_init_again_mends_what_was_lost(site: Site) -> None:
    site.hub.ok("server", "init")
    make_key(site.sshd.folder / "one")
    site.hub.ok("host", "add", "web1", "--key", site.sshd.folder / "one.pub")
    before = site.keys
    site.sshd.authorized_keys.write_text(PERSON)
    site.hub.ok("server", "init")
    assert site.keys == before


def test_a_machine_that_is_no_server_says_so(pacha: Pacha) -> None:
    for words in (["list"], ["add", "web1", "--key", "/dev/null"], ["remove", "web1"], ["reset", "web1"]):
        result = pacha.run("host", *words)
        assert result.code == 2 and "Traceback" not in result.err, result
    assert "pacha server init" in pacha.run("host", "list").err


def test_silent_hosts(site: Site) -> None:
    site.hub.ok("server", "init")
    make_key(site.sshd.folder / "one")
    site.hub.ok("host", "add", "web1", "--key", site.sshd.folder / "one.pub", "--quota", "5MB")
    assert site.hub.run("host", "list", "--silent", "1h").code == 0
    time.sleep(1.1)
    silent = site.hub.run("host", "list", "--silent", "1s", "--json")
    assert silent.code == 4
    assert [(host["host"], host["quota"], host["seen"]) for host in silent.json["hosts"]] == [
        ("web1", 5_000_000, None)
    ]
