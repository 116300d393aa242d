"""Whose key reads all histories: what a laptop with it shows, what it keeps of that, and what it may not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Pacha
from tests.plainhg import StoreCopy
from tests.server.clients import Sending
from tests.server.hub import Client, Hub, hub

pytestmark = pytest.mark.xdist_group("readers")
ROLES = ("reader", "admin")


class Kept:
    """A server that keeps two hosts' histories, and a laptop for each role."""

    def __init__(self, place: Path, server: Hub) -> None:
        self.place, self.server = place, server
        self.hosts = {name: Client(place / name, name) for name in ("web1", "db1")}
        for name, client in self.hosts.items():
            client.capture({"hosts": f"10.0.0.1 {name}\n".encode()})
            assert server.push(server.add(name), client.store, name).returncode == 0
        self.laptops = {role: laptop(server, role, role) for role in ROLES}

    def capture(self, name: str, text: str) -> str:
        """Another revision of a host's, on the server as well."""
        revision = self.hosts[name].capture({"hosts": text.encode()})
        assert self.server.push(self.server.sshd.key(name), self.hosts[name].store, name).returncode == 0
        return revision


def laptop(server: Hub, name: str, role: str) -> Pacha:
    """A machine that has such a key and watches nothing."""
    key = server.let_read(name, role)
    made = Pacha.at(server.place / f"laptop_{name}")
    made.config.write_text(f'server = "hub"\nssh = "{server.sshd.command(key)}"\n')
    return made


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    place = tmp_path_factory.mktemp("readers")
    with hub(place / "hub") as server:
        yield Kept(place, server)


@pytest.mark.parametrize("role", ROLES)
def test_every_host_is_read_as_the_host_itself_would(kept: Kept, role: str) -> None:
    reads = kept.laptops[role]
    for name, client in kept.hosts.items():
        path = client.tree / "hosts"
        assert reads.ok("cat", path, "--host", name)["content"] == f"10.0.0.1 {name}\n"
    own = client.pacha.ok("log")["revisions"]
    between = ["--from", own[1]["id"], "--to", own[0]["id"]]
    for words in (["log"], ["show", own[0]["id"]], ["blame", path], ["diff", *between]):
        assert reads.ok(*words, "--host", name) == client.pacha.ok(*words), words


def test_what_is_new_comes_over_and_what_is_kept_stays(kept: Kept) -> None:
    reads = kept.laptops["reader"]
    before = [one["id"] for one in reads.ok("log", "--host", "web1")["revisions"]]
    copy = reads.state / "fetched" / "hub" / "web1" / ".hg"
    kind = copy.stat().st_ino
    revision = kept.capture("web1", "10.0.0.7 web1\n")
    assert [one["id"] for one in reads.ok("log", "--host", "web1")["revisions"]] == [revision, *before]
    assert copy.stat().st_ino == kind, "the rest was added, and nothing fetched twice"
    assert StoreCopy(copy.parent, kept.place / "copy").complaints() == []


def test_the_log_of_all_hosts(kept: Kept) -> None:
    told = kept.laptops["reader"].ok("log")["revisions"]
    assert told == kept.server.pacha.ok("log")["revisions"]
    assert {one["host"] for one in told} == {"web1", "db1"}


def test_a_copy_is_private_and_never_this_machines_store(kept: Kept) -> None:
    reads = kept.laptops["reader"]
    reads.ok("log", "--host", "db1")
    top = reads.state / "fetched"
    assert [path.stat().st_mode & 0o077 for path in (top, top / "hub", top / "hub" / "db1")] == [0, 0, 0]
    assert not reads.store.exists()
    assert reads.ok("status")["servers"][0]["backlog"] == 0
    # What was fetched is gone, or damaged: it is fetched again.
    log = reads.ok("log", "--host", "db1")
    (top / "hub" / "db1" / ".hg" / "store" / "00changelog.i").write_bytes(b"\0" * 100)
    assert reads.ok("log", "--host", "db1") == log


def test_a_line_that_was_begun_anew_is_fetched_anew(kept: Kept) -> None:
    kept.server.add("again")
    client = Client(kept.place / "again", "again")
    key = kept.server.sshd.key("again")
    assert kept.server.push(key, client.store, "again").returncode == 0
    reads = kept.laptops["admin"]
    assert len(reads.ok("log", "--host", "again")["revisions"]) == 1
    kept.server.pacha.ok("host", "reset", "again")
    assert "there is no history of again" in reads.run("log", "--host", "again").err
    other = Client(kept.place / "again2", "again")
    assert kept.server.push(key, other.store, "again").returncode == 0
    assert reads.ok("log", "--host", "again")["revisions"] == other.pacha.ok("log")["revisions"]


def test_a_name_is_looked_up_and_becomes_no_path(kept: Kept) -> None:
    reads = kept.laptops["reader"]
    for name in ("web9", "reader", "..", "../web1", ".archive", "web1/.hg", "-x", "", "web1 --rebuild"):
        result = reads.run("log", f"--host={name}")
        assert result.code in (1, 2), (name, result)
        assert "no history" in result.err or "no name of a host" in result.err, (name, result)
    assert not (reads.state / "fetched" / "web1").exists()


def test_a_hosts_own_key_reads_its_own_history_alone(kept: Kept) -> None:
    host = Sending(kept.server, "web5")
    revision = host.sent("one\n")
    log = host.pacha.ok("log", "--host", "web5")["revisions"]
    assert log[0]["id"] == revision
    result = host.pacha.run("log", "--host", "web1")
    assert result.code == 1
    assert "this key opens the store of web5 and no other" in result.err


def test_a_removed_host_can_still_be_read(kept: Kept) -> None:
    host = Sending(kept.server, "old1")
    host.sent("one\n")
    kept.server.pacha.ok("host", "remove", "old1")
    assert kept.laptops["reader"].ok("log", "--host", "old1")["revisions"][0]["host"] == "old1"


def test_roles_are_listed_rekeyed_and_removed(kept: Kept) -> None:
    server = kept.server
    reads = laptop(server, "tablet", "reader")
    assert reads.run("log", "--host", "web1").code == 0
    listed = {one["host"]: one["role"] for one in server.pacha.ok("host", "list")["hosts"]}
    assert listed["tablet"] == "reader"
    assert listed["admin"] == "admin"
    assert listed["web1"] == "host"
    assert "tablet" in server.pacha.run("host", "list").out
    other = server.sshd.key("tablet2")
    server.pacha.ok("host", "rekey", "tablet", "--key", f"{other}.pub")
    assert reads.run("log", "--host", "web1").code == 1
    reads.config.write_text(f'server = "hub"\nssh = "{server.sshd.command(other)}"\n')
    assert reads.run("log", "--host", "web1").code == 0
    server.pacha.ok("host", "remove", "tablet")
    assert reads.run("log", "--host", "web1").code == 1
    assert "tablet" not in server.sshd.authorized_keys.read_text()


def test_what_cannot_be_both_is_refused(kept: Kept) -> None:
    pacha, public = kept.server.pacha, f"{kept.server.sshd.key('spare')}.pub"
    assert (
        "as a host"
        in pacha.run(
            "host", "add", "web1", "--role", "reader", "--key", f"{kept.server.sshd.key('web1')}.pub"
        ).err
    )
    assert (
        "a key of its own"
        in pacha.run(
            "host", "add", "x", "--role", "reader", "--key", f"{kept.server.sshd.key('web1')}.pub"
        ).err
    )
    assert pacha.run("host", "reset", "reader").code == 1
    assert pacha.run("host", "add", "x", "--role", "reader", "--quota", "1GB", "--key", public).code == 2
    assert pacha.run("host", "add", "x", "--role", "reader", "--ssh", "root@x").code == 2
    assert pacha.run("host", "add", "x", "--role", "king", "--key", public).code == 2
    assert "x" not in os.listdir(kept.server.pacha.state / "server")


def test_a_laptop_joins_as_one_who_reads(kept: Kept, tmp_path: Path) -> None:
    server = kept.server
    reads = Pacha.at(tmp_path / "joined")
    reads.config.write_text(f'ssh = "{server.sshd.command(server.sshd.key("nobody"))}"\n')
    joined = reads.ok("join", "hub", "-y")
    assert (joined["let_in"], joined["role"]) == (False, None)
    public = tmp_path / "joined.pub"
    public.write_text(joined["key"])
    server.pacha.ok("host", "add", "joined", "--role", "reader", "--key", public)
    joined = reads.ok("join", "hub")
    assert (joined["let_in"], joined["role"]) == (True, "reader")
    assert reads.ok("log", "--host", "web1")["revisions"][0]["host"] == "web1"


def test_a_rebuilt_machine_goes_on_with_the_line_once_it_has_a_key(kept: Kept) -> None:
    host, server = Sending(kept.server, "rebuilt"), kept.server
    host.sent("one\n")
    if not server.registry.record("rebuilt").machine:
        pytest.skip("this machine has no machine-id")
    server.registry.set_machine("rebuilt", "f" * 32)  # it was another one
    result = host.capture("two\n")
    assert result.code == 3
    assert "another machine" in result.json["servers"][0]["error"]
    other = server.sshd.key("rebuilt2")
    server.pacha.ok("host", "rekey", "rebuilt", "--key", f"{other}.pub")
    host.key = other
    host.configure()
    host.sent("three\n")
    assert host.there() == host.here()
    record = server.registry.record("rebuilt")
    assert (record.replaced, record.machine not in ("", "f" * 32)) == (False, True)


def test_who_rebuilds_is_noted_and_a_reader_may_not(kept: Kept) -> None:
    server = kept.server
    answer = server.ssh(
        server.sshd.key("admin"), "pacha serve --protocol 1 --read web1 --rebuild", input=b"pacha\n"
    )
    assert answer.returncode == 0
    assert server.log("rebuild")[-1]["host"] == "web1"
    assert server.log("rebuild")[-1]["words"] == "by admin, admin"
    answer = server.ssh(
        server.sshd.key("reader"), "pacha serve --protocol 1 --read web1 --rebuild", input=b"pacha\n"
    )
    assert answer.returncode == 1
    assert b"or an admin's" in answer.stderr
