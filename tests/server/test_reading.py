"""Another host's history, read on the server that keeps it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from pacha.server.kept import KeptHistories
from tests.server.hub import Client, Hub, hub
from tests.sshd import descendants


class Kept:
    """A server that keeps two hosts' histories, and what they did, newest first."""

    def __init__(self, server: Hub, hosts: dict[str, Client], revisions: list[tuple[str, str]]) -> None:
        self.server, self.hosts, self.revisions = server, hosts, revisions


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    place = tmp_path_factory.mktemp("reading")
    with hub(place / "hub") as server:
        hosts = {name: Client(place / name, name) for name in ("web1", "db1")}
        done = [(name, client.pacha.ok("log")["revisions"][0]["id"]) for name, client in hosts.items()]
        for name in ("web1", "db1", "web1"):
            done.append((name, hosts[name].capture({"hosts": f"10.0.0.{len(done)} {name}\n".encode()})))
        for name, client in hosts.items():
            assert server.push(server.add(name), client.store, name).returncode == 0
        server.add("new1")
        yield Kept(server, hosts, done[::-1])


def test_the_log_of_one_host_is_that_of_the_host_itself(kept: Kept) -> None:
    own = kept.hosts["web1"].pacha.ok("log")["revisions"]
    assert kept.server.pacha.ok("log", "--host", "web1")["revisions"] == own
    path = kept.hosts["web1"].tree / "hosts"
    assert kept.server.pacha.ok("log", path, "--host", "web1", "-n", "1")["revisions"] == own[:1]


def test_the_log_of_all_hosts_is_by_time(kept: Kept) -> None:
    told = kept.server.pacha.ok("log")["revisions"]
    assert [(one["host"], one["id"]) for one in told] == kept.revisions
    assert all(one["paths"] for one in told)
    cut = kept.server.pacha.ok("log", "-n", "2")
    assert (cut["revisions"], cut["more"]) == (told[:2], True)
    path = kept.hosts["db1"].tree / "hosts"
    assert {one["host"] for one in kept.server.pacha.ok("log", path)["revisions"]} == {"db1"}
    lines = kept.server.pacha.run("log").out.splitlines()
    assert [line.split()[3] for line in lines] == [name for name, _ in kept.revisions]


def test_the_servers_own_history_is_among_them(kept: Kept) -> None:
    pacha = kept.server.pacha
    tree = pacha.home / "own"
    tree.mkdir()
    time.sleep(0.01)
    revision = pacha.ok("watch", tree)["revision"]
    newest = pacha.ok("log")["revisions"][0]
    assert newest["id"] == revision
    assert newest["host"] not in kept.hosts
    assert len(pacha.ok("log")["revisions"]) == len(kept.revisions) + 1


def test_show_cat_blame_and_diff(kept: Kept) -> None:
    server, client = kept.server.pacha, kept.hosts["web1"]
    newest = kept.revisions[0][1]
    path = client.tree / "hosts"
    for words in (
        ["show", newest],
        ["cat", path],
        ["blame", path],
        ["diff", "--from", newest, "--to", newest],
    ):
        assert server.ok(*words, "--host", "web1") == client.pacha.ok(*words)
    changed = server.run("diff", "--host", "web1")
    assert "-10.0.0.2 web1" in changed.out and "+10.0.0.4 web1" in changed.out
    assert server.run("diff", "--host", "web1", "--exit-code").code == 4
    assert server.run("cat", path, "--host", "web1").out == "10.0.0.4 web1\n"


def test_all_are_read_by_one_mercurial_child(kept: Kept) -> None:
    histories, before = KeptHistories(kept.server.registry), set(descendants(os.getpid()))
    started = set()
    for name in ("web1", "db1", "web1"):
        past = histories.past(name)
        assert {revision.stamp.host for revision in past.store.history()} == {name}
        started |= set(descendants(os.getpid())) - before
    histories.close()
    assert len(started) == 1


def test_nothing_is_written_and_links_are_not_followed(kept: Kept) -> None:
    before = kept.server.digest("web1")
    link = kept.server.pacha.home / "link"
    link.symlink_to(kept.hosts["web1"].tree)
    kept.server.pacha.ok("log", "--host", "web1")
    through = kept.server.pacha.run("log", link / "hosts", "--host", "web1")
    assert through.code == 2, "the server's own links say nothing of another host's paths"
    assert kept.server.digest("web1") == before
    assert [path.name for path in kept.server.store("web1").iterdir()] == [".hg"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["log", "--host", "web2"], "there is no history of web2 here"),
        (["log", "--host", "new1"], "there is no history of new1 here"),
        (["log", "--host", "../web1"], "is no name of a host"),
        (["cat", "hosts", "--host", "web1"], "hosts is not absolute"),
        (["cat", "/nowhere", "--host", "web1"], "was not there at that revision"),
        (["diff", "/nowhere", "--host", "web1"], "was never captured"),
        (["show", "ffff", "--host", "web1"], "is no revision of this host"),
    ],
)
def test_what_is_not_there_is_said(kept: Kept, words: list[str], said: str) -> None:
    result = kept.server.pacha.run(*words)
    assert result.code == 2 and said in result.err, result


def test_on_a_client_it_says_where(kept: Kept) -> None:
    result = kept.hosts["web1"].pacha.run("log", "--host", "db1")
    assert result.code == 2 and "this machine is no server" in result.err
