"""Rebuilding from a server over a real ssh connection: with the host's own key, with an admin's, never a reader's."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import needs
from tests.oracle import compare
from tests.plainhg import StoreCopy
from tests.rebuild.machines import Machine
from tests.server.hub import Hub, hub

pytestmark = [needs.root, needs.tools, pytest.mark.xdist_group("rebuild-server")]

FILES = {"/etc/hosts": "web1\n", "/etc/app/app.conf": "x\n", "/etc/machine-id": "0" * 31 + "1\n"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Hub]:
    with hub(tmp_path / "hub") as made:
        yield made


def client(place: Path, server: Hub, key: Path, name: str | None, addresses: str = '"hub"') -> Machine:
    """A machine that reaches the server by this key."""
    machine = Machine(place, name)
    text = f'server = {addresses}\nssh = "{server.sshd.command(key)}"\n'
    machine.pacha.config.write_text(text + machine.pacha.config.read_text())
    return machine


def dead(tmp_path: Path, server: Hub) -> Machine:
    """A host that has sent everything, and is no more but for its root, to compare with."""
    machine = client(tmp_path / "dead", server, server.add("web1"), "web1")
    machine.write(FILES)
    machine.pacha.ok("watch", "/etc")
    return machine


def test_the_hosts_new_key_brings_it_back_and_goes_on(tmp_path: Path, server: Hub) -> None:
    web1 = dead(tmp_path, server)
    key = server.add("web1", key="new")  # what rekey does
    fresh = client(tmp_path / "fresh", server, key, None, '["nowhere", "hub"]')
    plan = fresh.pacha.run("rebuild", "web1", "-n", "--json")
    assert plan.code == 0 and len(plan.json["steps"]) > 2, "the next server is asked"

    fresh = client(tmp_path / "other", server, key, None)
    done = fresh.pacha.ok("rebuild", "web1", "-y")
    assert done["left"] == []
    assert compare(web1.root / "etc", fresh.root / "etc") == []
    there = StoreCopy(server.store("web1"), tmp_path / "copy").nodes()
    assert [node[:12] for node in there] == [done["target"], done["before"], done["revision"]]
    assert there == StoreCopy(fresh.pacha.store, tmp_path / "copy2").nodes()
    again = fresh.pacha.ok("rebuild", "web1", "-y")
    assert (again["revision"], again["steps"]) == (None, [])


def test_an_admins_key_brings_back_any_host(tmp_path: Path, server: Hub) -> None:
    web1 = dead(tmp_path, server)
    fresh = client(tmp_path / "fresh", server, server.let_read("boss", "admin"), None)
    result = fresh.pacha.run("rebuild", "web1", "--only", "/etc/app", "-n", "--json")
    assert result.code == 0, result
    assert [step["path"] for step in result.json["steps"]] == ["/etc", "/etc/app", "/etc/app/app.conf"]
    assert not fresh.has("/etc/app")
    assert web1.has("/etc/app")


def test_an_admins_key_makes_the_machine_and_the_hosts_own_lets_it_go_on(tmp_path: Path, server: Hub) -> None:
    web1 = dead(tmp_path, server)
    boss = server.let_read("boss", "admin")
    fresh = client(tmp_path / "fresh", server, boss, None)
    result = fresh.pacha.run("rebuild", "web1", "-y", "--json")
    assert (result.code, result.json["left"]) == (3, [])
    assert "pacha host" in result.json["servers"][0]["error"], "how it can send is said"
    assert compare(web1.root / "etc", fresh.root / "etc") == []
    key = server.add("web1", key="new")
    text = fresh.pacha.config.read_text().replace(server.sshd.command(boss), server.sshd.command(key))
    fresh.pacha.config.write_text(text)
    assert fresh.pacha.run("capture").code == 0
    there = StoreCopy(server.store("web1"), tmp_path / "copy").nodes()
    assert there == StoreCopy(fresh.pacha.store, tmp_path / "copy2").nodes()


def test_cut_off_while_it_fetches_the_same_again_goes_on(tmp_path: Path, server: Hub) -> None:
    web1 = client(tmp_path / "dead", server, server.add("web1"), "web1")
    web1.write({f"/etc/app/{n}": os.urandom(3000).hex() for n in range(400)})
    web1.pacha.ok("watch", "/etc")
    fresh = client(tmp_path / "fresh", server, server.add("web1", key="new"), None)
    for pause in (0.2, 0.5, 0.8):
        process = fresh.pacha.start("rebuild", "web1", "-y", "--json")
        time.sleep(pause)
        server.sshd.stop(signal.SIGKILL)
        result = fresh.pacha.finish(process)
        server.sshd.start()
        assert result.code in (0, 1, 3), result
        assert "Traceback" not in result.err
    result = fresh.pacha.run("rebuild", "web1", "-y", "--json")
    assert (result.code, result.json["left"]) == (0, []), result
    assert compare(web1.root / "etc", fresh.root / "etc") == []


def test_a_host_that_no_server_knows(tmp_path: Path, server: Hub) -> None:
    fresh = client(tmp_path / "fresh", server, server.let_read("boss", "admin"), None)
    error = fresh.pacha.run("rebuild", "nosuch", "-n", "--json")
    assert (error.code, error.json["error"]["kind"]) == (2, "not-found"), error
    assert error.json["error"]["message"] == "hub: there is no history of nosuch here"
    assert error.json["error"]["hint"] == "pacha host list, on the server"


def test_a_readers_key_rebuilds_nothing(tmp_path: Path, server: Hub) -> None:
    dead(tmp_path, server)
    fresh = client(tmp_path / "fresh", server, server.let_read("eve", "reader"), None)
    result = fresh.pacha.run("rebuild", "web1", "-y", "--json")
    assert (result.code, result.json["error"]["kind"]) == (1, "refused"), result
    assert not fresh.has("/etc")
