"""Hosts tell how they are, whether anything changed or not; who falls silent is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import pacha
from pacha.core.health import Health
from pacha.server.registry import Record, Registry
from tests.agents import until
from tests.command import Pacha
from tests.server.clients import Sending
from tests.server.forge import Wire
from tests.server.hub import Hub, hub

pytestmark = pytest.mark.xdist_group("silence")
DAY_NS = 86_400_000_000_000
HEALTH = Health(5, "9.9", True, 2, 1, ("/x is polled: no marks left",))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with hub(tmp_path_factory.mktemp("silence") / "hub") as made:
        yield made


def told(server: Hub, name: str) -> dict[str, object] | None:
    """What `host list` says of how a host is."""
    hosts = server.pacha.ok("host", "list")["hosts"]
    health: dict[str, object] | None = next(one["health"] for one in hosts if one["host"] == name)
    return health


def test_a_host_without_the_agent_tells_with_each_run(server: Hub) -> None:
    host = Sending(server, "cron1")
    host.sent("one\n")
    assert told(server, "cron1") is None, "what is typed tells nothing"
    before = host.here()
    (host.tree / "large").write_bytes(b"x" * 11_000_000)
    host.pacha.run("agent", "--once")
    host.pacha.run("agent", "--once")
    health = told(server, "cron1")
    assert health is not None
    assert (health["agent"], health["backlog"], health["skipped"]) == (False, 0, 1)
    assert health["version"] == pacha.__version__
    assert len(host.here()) == len(before) + 1, "to tell it makes no revision"
    seen = server.registry.seen("cron1")
    assert seen is not None
    host.pacha.ok("status")
    host.sent("two\n")
    assert told(server, "cron1") == health, "a session that says nothing of it leaves it as it was"


def test_the_agent_tells_after_its_look_at_everything(server: Hub) -> None:
    host = Sending(server, "live1")
    host.sent("one\n")
    agent = host.pacha.start("agent")
    try:
        until(lambda: told(server, "live1") is not None)
    finally:
        agent.terminate()
        host.pacha.finish(agent)
    health = told(server, "live1")
    assert health is not None
    assert (health["agent"], health["backlog"], health["degraded"], health["problem"]) == (True, 0, [], None)
    assert len(host.there()) == 1


BAD = {
    "no JSON": b"x",
    "no object": b"[]",
    "empty": b"{}",
    "nested": b"[" * 100_000,
    "long": json.dumps({**HEALTH._asdict(), "problem": "x" * 5000}).encode(),
    "long words": json.dumps({**HEALTH._asdict(), "degraded": ["x" * 200]}).encode(),
    "many words": json.dumps({**HEALTH._asdict(), "degraded": ["x"] * 100}).encode(),
    "negative": json.dumps({**HEALTH._asdict(), "backlog": -1}).encode(),
    "huge": json.dumps({**HEALTH._asdict(), "time_ns": 1 << 80}).encode(),
    "fraction": json.dumps({**HEALTH._asdict(), "skipped": 1.5}).encode(),
    "truth for a number": json.dumps({**HEALTH._asdict(), "skipped": True}).encode(),
    "number for a text": json.dumps({**HEALTH._asdict(), "version": 1}).encode(),
    "half a character": json.dumps({**HEALTH._asdict(), "version": "\ud800"}).encode(),
    "text for truth": json.dumps({**HEALTH._asdict(), "agent": "yes"}).encode(),
}


def alive(session: Wire, health: bytes) -> None:
    session.say(b"alive\nhealth %d\n" % len(health) + health)


def test_what_makes_no_sense_is_refused_and_not_kept(server: Hub) -> None:
    key = server.add("liar")
    session = Wire(server, key)
    alive(session, HEALTH.encode())
    assert json.loads(session.answer())["host"] == "liar"
    assert session.end()[0] == 0
    kept = told(server, "liar")
    shared = ("-o", f"ControlPath={server.place}/c", "-o", "ControlMaster=auto", "-o", "ControlPersist=60")
    for name, data in BAD.items():
        said = b"alive\nhealth %d\n" % len(data) + data
        answer = server.ssh(key, "pacha serve --protocol 1", options=shared, input=said)
        assert answer.returncode == 1, (name, answer)
        assert b"makes no sense" in answer.stderr, (name, answer)
        assert answer.stderr.count(b"\n") == 1
    server.ssh(key, "-O", "exit", options=("-o", f"ControlPath={server.place}/c"))
    assert told(server, "liar") == kept


def test_what_a_host_says_is_shown_within_80_columns_and_harmless(server: Hub) -> None:
    key = server.add("a-name-of-fifteen"[:15])
    session = Wire(server, key)
    words = ("\x1b[2J\n/srv/" + "long/" * 20 + " is polled: no marks left",)
    alive(session, HEALTH._replace(degraded=words).encode())
    session.answer()
    session.end()
    out = server.pacha.run("host", "list").out
    assert "\x1b" not in out
    assert "  backlog 2" in out.splitlines()
    assert max(map(len, out.splitlines())) <= 80


@pytest.fixture(scope="module")
def fifty(tmp_path_factory: pytest.TempPathFactory) -> Pacha:
    """A server to which fifty hosts have each said how they are, three of them two days ago."""
    place = tmp_path_factory.mktemp("fifty")
    made = Pacha.at(place / "server")
    made.config.write_text(f'[serve]\nhosts = "{place}/hosts"\nauthorized_keys = "{place}/keys"\n')
    made.ok("server", "init")
    registry = Registry(str(made.state), os.fsencode(place / "hosts"))
    names = [f"host{number:02}" for number in range(50)]
    for name in names:
        registry.put(Record(name, f"ssh-ed25519 {name}", added_ns=time.time_ns() - 3 * DAY_NS))
    health = Health(time.time_ns(), pacha.__version__, True, 0, 0).encode()

    def beat(name: str) -> int:
        argv = [sys.executable, "-I", "-m", "pacha", "--config", str(made.config), "--state", str(made.state)]
        said = b"alive\nhealth %d\n" % len(health) + health
        environment = {"SSH_ORIGINAL_COMMAND": "pacha serve --protocol 1", "PATH": os.environ["PATH"]}
        return subprocess.run(
            [*argv, "serve", "--host", name], input=said, env=environment, capture_output=True
        ).returncode

    with ThreadPoolExecutor(3) as some:
        assert set(some.map(beat, names)) == {0}
    for name in names[7::15]:
        path = Path(registry.folder(name)) / "seen.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "time_ns": time.time_ns() - 2 * DAY_NS}))
    return made


def test_of_fifty_hosts_exactly_those_that_stopped_are_silent(fifty: Pacha) -> None:
    silent = ["host07", "host22", "host37"]
    result = fifty.run("host", "list", "--silent", "1d", "--json")
    assert result.code == 4
    assert [one["host"] for one in result.json["hosts"]] == silent
    result = fifty.run("host", "list", "--silent", "1d")
    assert (result.code, [line.split()[0] for line in result.out.splitlines()[1:]]) == (4, silent)
    result = fifty.run("host", "list", "--silent", "3d")
    assert (result.code, result.out) == (0, "none is silent\n")
    assert len(fifty.ok("host", "list")["hosts"]) == 50


def test_nagios_gets_its_line_and_its_exit_codes(fifty: Pacha) -> None:
    result = fifty.run("host", "list", "--silent", "1d", "--nagios")
    words = "3 of 50 silent: host07, host22, host37"
    figures = "silent=3;;0;0;50 ailing=0;0;;0;50 hosts=50;;;0"
    assert (result.code, result.out) == (2, f"PACHA CRITICAL - {words} | {figures}\n")
    result = fifty.run("host", "list", "--silent", "3d", "--nagios")
    figures = "silent=0;;0;0;50 ailing=0;0;;0;50 hosts=50;;;0"
    assert (result.code, result.out) == (0, f"PACHA OK - 50 hosts, none silent for 3d | {figures}\n")
    for words in (["--nagios"], ["--nagios", "--silent", "soon"]):
        result = fifty.run("host", "list", *words)
        assert result.code == 3
        assert result.out.startswith("PACHA UNKNOWN - ")
        assert result.out.count("\n") == 1


def test_nagios_is_warned_of_who_ails(server: Hub) -> None:
    server.add("ailing1")
    registry = server.registry
    registry.put(registry.record("ailing1")._replace(added_ns=time.time_ns()))
    session = Wire(server, server.sshd.key("ailing1"))
    alive(session, HEALTH.encode())
    session.answer()
    session.end()
    result = server.pacha.run("host", "list", "--silent", "1d", "--nagios")
    assert result.code == 1
    assert result.out.startswith("PACHA WARNING - ")
    assert "ailing1" in result.out
