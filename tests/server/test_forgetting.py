"""A secret is forgotten by the host and its servers; and where only one side has forgotten, all goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Pacha
from tests.plainhg import StoreCopy
from tests.server.clients import Sending
from tests.server.forge import Wire
from tests.server.hub import Hub, hub

pytestmark = pytest.mark.xdist_group("forgetting")
SECRET = "correct horse battery staple\n" * 40


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with hub(tmp_path_factory.mktemp("forgetting") / "hub") as made:
        yield made


@pytest.fixture(autouse=True)
def _allowed(server: Hub) -> None:
    allow(server, True)


def allow(server: Hub, yes: bool) -> None:
    """Let hosts forget, or not."""
    text = server.pacha.config.read_text().replace("forget = true\n", "")
    server.pacha.config.write_text(text + ("forget = true\n" if yes else ""))


def host_with_secret(server: Hub, name: str) -> Sending:
    """A host whose server has three versions of its file, the second with a secret."""
    host = Sending(server, name)
    host.sent("one\n")
    host.sent(SECRET)
    host.sent("three\n")
    return host


def versions(store: Path, place: Path, host: Sending) -> list[bytes]:
    """What plain hg has of the host's file, oldest first; a forgotten one is empty."""
    copy = StoreCopy(store, place)
    name = f"files{host.tree}/file"
    return [
        copy.hg("--config", "censor.policy=ignore", "cat", "-r", node, f"path:{name}")
        for node in copy.nodes()
    ]


def forget(host: Sending, code: int = 0) -> dict[str, object]:
    """Have the host forget its file."""
    result = host.pacha.run("forget", host.tree / "file", "-y", "--json")
    assert result.code == code, result
    (answer,) = result.json["servers"]
    assert isinstance(answer, dict)
    return answer


def test_both_sides_forget_and_the_server_keeps_the_fact(server: Hub, tmp_path: Path) -> None:
    host = host_with_secret(server, "both")
    before = host.there()
    answer = forget(host)
    assert (answer["forgotten"], answer["refused"], answer["error"]) == (True, None, None)
    for store in (host.pacha.store, server.store("both")):
        assert versions(store, tmp_path / "copy", host) == [b"", b"", b""]
    assert host.there() == before, "every revision is there, with its id"
    (told,) = [one for one in server.log("forgotten") if one["host"] == "both"]
    assert told["count"] == 3
    assert told["words"].endswith("/file")
    kept = [
        json.loads(line)
        for line in (Path(server.registry.folder("both")) / "forgotten").read_text().splitlines()
    ]
    assert [(one["path"], one["versions"]) for one in kept] == [(f"files{host.tree}/file", 3)]
    assert server.registry.record("both").forgotten > 0
    assert host.pacha.ok("status")["forgets"] == []
    # And it goes on: sending, verifying, cloning, looking back.
    host.sent("four\n")
    assert host.pacha.run("verify").code == 0
    cloned = server.hg(host.key, "clone", "ssh://hub/both", tmp_path / "clone")
    assert cloned.returncode == 0, cloned
    assert host.pacha.ok("cat", host.tree / "file", "--host", "both")["content"] == "four\n"


def test_without_leave_it_is_refused_in_words_and_stays_asked_for(server: Hub, tmp_path: Path) -> None:
    host = host_with_secret(server, "refused")
    allow(server, False)
    answer = forget(host, 3)
    assert answer["forgotten"] is False
    assert "removes nothing from a history" in str(answer["refused"])
    assert versions(host.pacha.store, tmp_path / "copy", host) == [b"", b"", b""]
    assert SECRET.encode() in versions(server.store("refused"), tmp_path / "copy", host)
    (waiting,) = host.pacha.ok("status")["forgets"]
    assert waiting["path"] == f"{host.tree}/file"
    assert "removes nothing" in waiting["error"]
    assert host.pacha.run("status", "--check").code == 4
    assert "removes nothing" in host.pacha.run("status").out
    assert any("removes nothing" in one["words"] for one in server.log("refused"))
    # Only this end has forgotten: what follows is sent and compared all the same.
    host.sent("four\n")
    host.sent(SECRET + "five\n")
    assert host.pacha.run("verify").code == 0
    assert StoreCopy(server.store("refused"), tmp_path / "copy").complaints() == []
    # The server's administrator allows it: the next sign of life brings it about.
    allow(server, True)
    host.pacha.run("agent", "--once")
    assert host.pacha.ok("status")["forgets"] == []
    assert SECRET.encode() not in versions(server.store("refused"), tmp_path / "copy", host)


def test_a_server_that_is_away_is_asked_later(server: Hub, tmp_path: Path) -> None:
    host = host_with_secret(server, "later")
    host.configure('"gone.hub"')
    host.pacha.config.write_text(host.pacha.config.read_text().replace('ssh = "ssh', 'ssh = "false'))
    process = host.pacha.start("forget", host.tree / "file", "-y", "--json")
    deadline = time.monotonic() + 30
    while not (host.pacha.state / "forgets.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.terminate()
    host.pacha.finish(process)
    (waiting,) = host.pacha.ok("status")["forgets"]
    assert (waiting["server"], waiting["error"]) == ("gone.hub", None)
    # It is there again, as the same server under the same name.
    text = host.pacha.config.read_text().replace('ssh = "false', 'ssh = "ssh')
    host.pacha.config.write_text(text)
    host.capture()
    assert host.pacha.ok("status")["forgets"] == []
    assert set(versions(server.store("later"), tmp_path / "copy", host)) == {b""}


def test_only_the_server_has_forgotten(server: Hub, tmp_path: Path) -> None:
    """The host's disk was restored from before: it has the content, and sends differences from it."""
    host = host_with_secret(server, "restored")
    host.sent(SECRET)
    session = Wire(server, host.key)
    path = f"files{host.tree}/file".encode()
    session.say(b"forget\npath %d\n%bkeep 0\n" % (len(path), path))
    assert json.loads(session.answer()) == {"forgotten": 4}
    assert session.end()[0] == 0
    host.sent(SECRET + "and more\n")
    assert host.pacha.run("verify").code == 0
    here = versions(host.pacha.store, tmp_path / "copy", host)
    assert versions(server.store("restored"), tmp_path / "copy", host) == [b"", b"", b"", b"", here[-1]]


def test_a_host_that_catches_up_does_not_bring_back_what_it_forgot(server: Hub, tmp_path: Path) -> None:
    host = host_with_secret(server, "behind")
    snapshot = tmp_path / "snapshot"
    shutil.copytree(host.pacha.state, snapshot, symlinks=True)
    host.sent(SECRET + "four\n")
    host.sent(SECRET + "five\n")
    shutil.rmtree(host.pacha.state)
    shutil.copytree(snapshot, host.pacha.state, symlinks=True)
    allow(server, False)
    forget(host, 3)
    host.sent("six\n")
    assert len(host.here()) == 6
    assert not any(SECRET.encode() in one for one in versions(host.pacha.store, tmp_path / "copy", host)[:-1])
    for archived in (host.pacha.state / "archive").iterdir():
        assert not any(SECRET.encode() in one for one in versions(archived, tmp_path / "copy", host))
    assert host.pacha.run("verify").code == 0
    allow(server, True)
    forget(host)
    assert set(versions(server.store("behind"), tmp_path / "copy", host)) == {b""}


def test_a_readers_copy_forgets_as_well(server: Hub, tmp_path: Path) -> None:
    host = host_with_secret(server, "copied")
    key = server.let_read("reads")
    reads = Pacha.at(tmp_path / "laptop")
    reads.config.write_text(f'server = "hub"\nssh = "{server.sshd.command(key)}"\n')
    middle = host.there()[1]
    assert reads.ok("cat", host.tree / "file", "--host", "copied", "--at", middle)["content"] == SECRET
    forget(host)
    assert "forgotten" in reads.run("cat", host.tree / "file", "--host", "copied", "--at", middle).err
    copy = reads.state / "fetched" / "hub" / "copied"
    assert versions(copy, tmp_path / "copy", host) == [b"", b"", b""]


def test_what_was_put_aside_is_forgotten_too(server: Hub, tmp_path: Path) -> None:
    host = host_with_secret(server, "aside")
    server.pacha.ok("host", "reset", "aside")
    host.sent("new line\n")
    forget(host)
    (aside,) = (server.place / "hosts" / ".archive").glob("aside@*")
    assert versions(aside, tmp_path / "copy", host) == [b"", b"", b""]


def test_a_clone_from_before_pulls_what_comes_after(server: Hub, tmp_path: Path) -> None:
    host = host_with_secret(server, "cloned")
    host.sent(SECRET)
    clone = tmp_path / "clone"
    assert server.hg(host.key, "clone", "ssh://hub/cloned", clone).returncode == 0
    forget(host)
    host.sent(SECRET + "more\n")
    pulled = server.hg(host.key, "-R", clone, "pull", "ssh://hub/cloned")
    assert pulled.returncode == 0, pulled
    assert StoreCopy(clone, tmp_path / "copy").complaints() == []
    assert versions(clone, tmp_path / "copy", host)[-1] == (SECRET + "more\n").encode()
    fresh = tmp_path / "fresh"
    assert server.hg(host.key, "clone", "ssh://hub/cloned", fresh).returncode == 0
    assert versions(fresh, tmp_path / "copy", host)[:-1] == [b""] * 4


def test_two_servers_each_decide(server: Hub, tmp_path: Path) -> None:
    with hub(tmp_path / "second") as second:
        host, other = host_with_secret(server, "two"), second.add("two")
        configuration = server.sshd.client(host.key)
        alias = second.sshd.client(other).read_text().replace("Host hub *.hub", "Host other")
        configuration.write_text(f"{configuration.read_text()}{alias}")
        host.configure('["hub", "other"]')
        assert host.capture("four\n").code == 0
        result = host.pacha.run("forget", host.tree / "file", "-y", "--json")
        assert result.code == 3
        done = {one["address"]: (one["forgotten"], bool(one["refused"])) for one in result.json["servers"]}
        assert done == {"hub": (True, False), "other": (False, True)}
        assert SECRET.encode() in versions(second.store("two"), tmp_path / "copy", host)
        assert SECRET.encode() not in versions(server.store("two"), tmp_path / "copy", host)
        assert host.capture("five\n").code == 0, "both go on getting everything"
        allow(second, True)
        host.pacha.run("agent", "--once")
        assert host.pacha.ok("status")["forgets"] == []
        assert SECRET.encode() not in versions(second.store("two"), tmp_path / "copy", host)


def test_killed_while_it_forgets_the_server_finishes_when_asked_again(server: Hub, tmp_path: Path) -> None:
    host = host_with_secret(server, "killed")
    path = f"files{host.tree}/file".encode()
    for pause in (0.0, 0.002, 0.01, 0.03):
        session = Wire(server, host.key)
        session.told()
        (pid,) = server.registry.sessions("killed").pids()
        session.say(b"forget\npath %d\n%bkeep 0\n" % (len(path), path))
        time.sleep(pause)
        os.kill(pid, signal.SIGKILL)
        session.end()
        log = host.pacha.ok("log", "--host", "killed")["revisions"]
        assert len(log) == 3
    forget(host)
    assert versions(server.store("killed"), tmp_path / "copy", host) == [b"", b"", b""]
    assert server.registry.record("killed").forgotten > 0
    host.sent("four\n")
    assert host.pacha.run("verify").code == 0


HOSTILE = {
    "metadata": (b"meta/%meta", b""),
    "facts": (b"facts/rules", b""),
    "up": (b"files/../meta/%meta", b""),
    "newline": (b"files/a\nb", b""),
    "empty": (b"", b""),
    "hash": (b"files/x", b"zz"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_but_contents_is_forgotten(server: Hub, name: str) -> None:
    if "hostile" not in server.registry.names():
        host_with_secret(server, "hostile")
    before = server.digest("hostile")
    path, keep = HOSTILE[name]
    said = b"forget\npath %d\n%bkeep %d\n%b" % (len(path), path, len(keep), keep)
    answer = server.ssh(server.sshd.key("hostile"), "pacha serve --protocol 1", input=said)
    assert b"pacha: refused: " in answer.stderr
    assert server.digest("hostile") == before
