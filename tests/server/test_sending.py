"""A client's sending: every revision arrives, and what does not is told in words and by the exit code."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from functools import partial
from pathlib import Path

from tests.agents import running, until
from tests.server.clients import Sending
from tests.server.hub import Hub, hub
from tests.steps import newest


def test_every_verb_that_makes_a_revision_sends_it(server: Hub) -> None:
    host = Sending(server)
    host.change("one\n")
    told = host.pacha.ok("watch", host.tree)
    (first,) = told["servers"]
    assert (first["backlog"], first["error"], first["revision"]) == (0, None, told["revision"])
    host.sent("two\n")
    assert host.pacha.ok("rollback", host.tree, "--to", told["revision"], "-y")["servers"][0]["backlog"] == 0
    host.change("three\n")
    assert host.pacha.ok("agent", "--once")["servers"][0]["backlog"] == 0
    host.pacha.ok("change", "begin", "-m", "TICKET")
    host.change("four\n")
    assert host.pacha.ok("change", "end")["servers"][0]["backlog"] == 0
    assert host.here() == host.there()
    assert len(host.here()) == 5
    assert host.complaints() == []
    assert host.server["revision"] == newest(host.pacha)
    assert host.server["used"] > 0
    assert "has everything" in host.pacha.run("status").out
    assert host.pacha.run("status", "--check").code == 0
    assert host.pacha.ok("verify")["servers"][0]["ok"] is True
    (found,) = [check for check in host.pacha.ok("doctor")["checks"] if check["name"] == "servers"]
    assert found["state"] == "ok"


def test_a_server_that_is_away(own: Hub) -> None:
    host = Sending(own)
    host.sent("one\n")
    own.sshd.stop()
    started = time.monotonic()
    assert host.capture().code == 0
    assert time.monotonic() - started < 10, "nothing waits, so nobody is asked"
    host.change("two\n")
    process = host.pacha.start("capture", "--json")
    until(lambda: host.has(2))
    own.sshd.start()
    result = host.pacha.finish(process)
    assert result.code == 0, result
    assert host.here() == host.there()


def test_a_wrong_key_is_told_at_once(server: Hub, tmp_path: Path) -> None:
    host = Sending(server, "stranger")
    host.sent("one\n")
    config = server.sshd.client(host.key)
    right = config.read_text()
    config.write_text(right.replace(str(host.key), str(server.sshd.key("unknown"))))
    started = time.monotonic()
    result = host.capture("two\n")
    assert time.monotonic() - started < 20
    assert result.code == 3, result
    (told,) = result.json["servers"]
    assert (told["backlog"], result.json["revision"] is not None) == (1, True)
    assert "does not let this host in" in told["error"]
    assert "Permission denied" in told["error"]
    assert host.server["since"] is not None
    assert host.pacha.run("status", "--check").code == 4
    said = host.pacha.run("capture").err
    assert "not sent" in said
    assert said.count("\n") <= 2
    assert host.pacha.run("verify").code == 3
    config.write_text(right)
    assert host.capture().code == 0
    assert host.here() == host.there()


def test_another_host_key_is_told_at_once(own: Hub) -> None:
    host = Sending(own)
    (own.sshd.folder / "known_hosts").write_text(
        "hub ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n"
    )
    result = host.capture("one\n")
    assert result.code == 3, result
    assert "host key" in result.json["servers"][0]["error"]
    assert not own.store("web1").exists() or host.there() == []


def test_a_full_quota_stops_sending_in_words_and_no_capture(own: Hub) -> None:
    host = Sending(own, quota=300_000)
    host.sent("one\n")
    (host.tree / "large").write_bytes(os.urandom(600_000))
    result = host.capture()
    assert result.code == 3, result
    assert "quota" in result.json["servers"][0]["error"]
    assert result.json["revision"] is not None
    result = host.capture("two\n")
    assert (result.code, result.json["servers"][0]["backlog"]) == (3, 2)
    assert len(host.there()) == 1


def test_two_servers_each_get_everything(own: Hub, tmp_path: Path) -> None:
    host = Sending(own)
    with hub(tmp_path / "other") as other:
        key = other.add("web1", key="web1")
        config = own.sshd.client(host.key)
        more = other.sshd.client(key).read_text().replace("Host hub *.hub", "Host mirror")
        host.configure('["hub", "mirror"]')
        config.write_text(more + config.read_text())
        assert host.capture("one\n").code == 0
        other.sshd.stop()
        with running(host.pacha) as agent:
            host.change("two\n")
            until(lambda: host.arrived(2))
            found = until(
                lambda: [s for s in host.pacha.ok("status")["servers"] if s["backlog"] or s["error"]]
            )
            assert [s["address"] for s in found] == ["mirror"]
            other.sshd.start()
            agent.signal(signal.SIGHUP)
            until(
                lambda: all(not s["backlog"] and not s["error"] for s in host.pacha.ok("status")["servers"]),
                30,
            )
        host.hub = other
        assert host.here() == host.there()


def test_the_agent_sends_what_waits_and_what_comes(own: Hub) -> None:
    host = Sending(own)
    own.sshd.stop()
    host.unsent("one\n")
    own.sshd.start()
    with running(host.pacha) as agent:
        until(lambda: host.arrived(1))
        for number in range(3):
            host.change(f"{number}\n")
            until(partial(host.arrived, number + 2))
        until(lambda: host.server["backlog"] == 0)
        assert host.server["error"] is None
        own.sshd.stop()
        host.change("away\n")
        found = until(lambda: host.server["error"] and host.server)
        assert found["backlog"] == 1
        assert "hub" in found["error"]
        assert "cannot be reached" in agent.said()
        own.sshd.start()
        until(lambda: host.server["error"] is None, 60)
        assert "gets everything again" in agent.said()
    assert host.here() == host.there()
    assert host.complaints() == []


def test_a_lost_index_costs_one_look_at_the_server(server: Hub) -> None:
    host = Sending(server, "cold")
    host.sent("one\n")
    for left in host.pacha.state.glob("index.sqlite*"):
        left.unlink()
    assert host.server["backlog"] == 1
    assert host.capture().code == 0
    assert host.server["backlog"] == 0
    assert len(host.there()) == 1
    with sqlite3.connect(host.pacha.state / "index.sqlite") as index:
        assert index.execute("SELECT COUNT(*) FROM servers").fetchone() == (1,)
