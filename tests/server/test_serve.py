"""A host's own store over ssh: stock Mercurial pushes to it, clones it and reads it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.plainhg import StoreCopy
from tests.server.forge import Wire
from tests.server.hub import Client, Hub, hub

pytestmark = pytest.mark.xdist_group("serve")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serve")


def test_a_stock_mercurial_clones_and_reads_the_store(server: Hub, place: Path) -> None:
    key, client = server.add("web1"), Client(place / "web1", "web1")
    pushed = server.push(key, client.store, "web1")
    assert pushed.returncode == 0, pushed
    second = client.capture({"hosts": b"127.0.0.1 localhost\n10.0.0.1 db\n", "new/file": b"\1\nodd\n"})
    pushed = server.push(key, client.store, "web1")
    assert pushed.returncode == 0, pushed
    cloned = server.hg(key, "clone", "ssh://hub/web1", place / "clone")
    assert cloned.returncode == 0, cloned
    shown = server.hg(key, "-R", place / "clone", "log", "-p", "-r", "tip")
    assert b"+10.0.0.1 db" in shown.stdout
    assert second.encode() in shown.stdout
    stored = StoreCopy(server.store("web1"), place / "copy")
    assert stored.nodes() == StoreCopy(client.store, place / "original").nodes()
    assert stored.complaints() == []
    assert [told["count"] for told in server.log("received")] == [1, 1]
    again = server.push(key, client.store, "web1")
    assert again.returncode == 1
    assert b"no changes found" in again.stdout


def test_it_tells_what_it_has(server: Hub, place: Path) -> None:
    key, client = server.add("web2", quota=5_000_000), Client(place / "web2", "web2")

    def told() -> dict[str, object]:
        answer = server.ssh(key, "pacha serve --protocol 1 --machine abc", input=b"pacha\n")
        assert (answer.returncode, answer.stderr) == (0, b"")
        length, _, text = answer.stdout.partition(b"\n")
        assert int(length) == len(text)
        value: dict[str, object] = json.loads(text)
        return value

    before = told()
    assert {**before, "used": 0} == {
        "protocol": 1, "host": "web2", "tip": "", "seq": 0, "machine": "", "revisions": 0, "used": 0, "quota": 5_000_000, "forgotten": 0,
    }  # fmt: skip
    assert server.push(key, client.store, "web2").returncode == 0
    node = StoreCopy(client.store, place / "web2-copy").nodes()[-1]
    assert server.registry.record("web2").machine
    answer = server.ssh(key, "pacha serve --protocol 1", input=b"pacha\n")
    after = json.loads(answer.stdout.partition(b"\n")[2])
    assert (after["tip"], after["seq"], after["revisions"]) == (node, 1, 1)
    assert after["machine"] == server.registry.record("web2").machine
    assert after["used"] > before["used"]  # type: ignore[operator]


def test_only_the_store_is_in_its_folder(tmp_path: Path) -> None:
    with hub(tmp_path / "hub") as server:
        for name in ("web1", "web2"):
            key, client = server.add(name), Client(tmp_path / name, name)
            assert server.push(key, client.store, name).returncode == 0
        assert [path.name for path in server.store("web1").iterdir()] == [".hg"]
        assert sorted(path.name for path in (server.place / "hosts").iterdir()) == ["web1", "web2"]
        assert sorted(path.name for path in Path(server.registry.folder("web1")).iterdir()) == [
            "lock", "record.json", "seen.json", "sessions",
        ]  # fmt: skip


def test_a_session_that_is_told_to_end_leaves_in_order(server: Hub) -> None:
    session = Wire(server, server.add("web3"))
    session.told()
    (pid,) = server.registry.sessions("web3").pids()
    os.kill(pid, signal.SIGTERM)
    assert session.end() == (128 + signal.SIGTERM, b"")
    assert server.registry.sessions("web3").pids() == []
    assert os.listdir(Path(server.registry.folder("web3")) / "sessions") == []


def test_a_full_quota_is_told_before_anything_is_sent(server: Hub) -> None:
    session = Wire(server, server.add("web4", quota=1))
    session.say(b"unbundle\nheads 0\n")
    assert session.answer() == b"the quota of this host is full"
    assert session.told()["quota"] == 1
    assert session.end() == (0, b"pacha: refused: the quota of this host is full\n")
