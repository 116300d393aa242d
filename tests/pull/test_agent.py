"""The agent pulls what the configuration asks for: at once, at intervals, and again when that failed."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.processes import megabytes, wakeups
from tests.agent.test_idle import ALONE
from tests.agents import running, start, until
from tests.pull.places import Puller, offer
from tests.server.hub import Hub
from tests.steps import revisions

pytestmark = pytest.mark.xdist_group("pull-agent")
NUMBERS = itertools.count()
WANTED = '[push]\npull = ["base"]\nevery = "{}"\nready = "0s"\n'


@pytest.fixture
def web1(own: Hub) -> Iterator[Puller]:
    """A host with a server that its test may stop."""
    made = Puller(own)
    made.configure(WANTED.format("1s"))
    yield made


def pulls(host: Puller) -> list[dict[str, object]]:
    """What `status` says of them."""
    found: list[dict[str, object]] = host.pacha.ok("status")["pulls"]
    return found


def problem_told(host: Puller) -> str:
    """What the server was told last of what is wrong on a host."""
    seen = host.hub.registry.seen(host.name)
    return seen.health.problem if seen and seen.health else ""


def test_a_host_that_was_just_booted_pulls_at_once_and_then_what_is_new(web1: Puller) -> None:
    web1.configure(WANTED.format("2s"))
    offer(web1.hub)
    with running(web1.pacha) as agent:
        until(lambda: web1.has("/etc/motd"), 5)
        offer(web1.hub, {"files/etc/motd": "the next\n"})
        until(lambda: web1.read("/etc/motd") == "the next\n")
        until(lambda: len(revisions(web1.pacha, "/etc/motd")) == 2)
        assert {one["author"] for one in revisions(web1.pacha, "/etc/motd")} == {"agent, pulled from hub"}
        until(lambda: pulls(web1) and pulls(web1)[0]["error"] is None)
        until(lambda: web1.pacha.ok("status")["servers"][0]["backlog"] == 0)
        assert agent.stop() == 0
        assert "pull of base: changed: 1 file" in agent.said()
    assert web1.pacha.run("status").out.count("pulled    base") == 1


def test_what_fails_is_told_once_and_by_status_until_it_works(web1: Puller) -> None:
    offer(web1.hub, {"files/etc/motd": "x\n", "pacha.toml": "wrong = 1\n"})
    with running(web1.pacha) as agent:
        until(lambda: pulls(web1) and pulls(web1)[0]["error"])
        assert web1.pacha.run("status", "--check").code == 4
        first = pulls(web1)[0]["since"]
        time.sleep(5)
        assert len(web1.hub.log("refused")) >= 3
        assert agent.said().count("base/pacha.toml:1") == 1
        assert pulls(web1)[0]["since"] == first
        assert pulls(web1)[0]["done"] is None
        agent.signal(signal.SIGHUP)  # with each look at everything servers hear how this host is
        until(lambda: "pull of base: hub refuses: base/pacha.toml:1" in problem_told(web1))
        assert "base/pacha.toml:1" in web1.pacha.run("status").out
        offer(web1.hub)
        until(lambda: pulls(web1)[0]["error"] is None)
        assert "pull of base: it works again" in agent.said()
        agent.settle()
        until(lambda: web1.pacha.run("status", "--check").code == 0)


def test_a_server_that_is_away_is_asked_again(web1: Puller) -> None:
    offer(web1.hub)
    web1.hub.sshd.stop()
    with running(web1.pacha):
        until(lambda: pulls(web1) and pulls(web1)[0]["error"])
        web1.hub.sshd.start()
        until(lambda: web1.has("/etc/motd"))
        until(lambda: pulls(web1)[0]["error"] is None)


def test_a_persons_fix_is_kept_and_told(web1: Puller) -> None:
    offer(web1.hub)
    with running(web1.pacha):
        until(lambda: web1.has("/etc/motd"))
        until(lambda: pulls(web1))
        web1.write("/etc/motd", "by hand\n")
        # A deployment that has not changed is not made again over it, either.
        until(lambda: pulls(web1)[0]["error"])
        assert web1.read("/etc/motd") == "by hand\n"
        web1.pull("base", "--force")
        until(lambda: pulls(web1)[0]["error"] is None)


def _is_left_alone(web1: Puller) -> bool:
    """Whether what is new on the server does not come by itself, in three times the time that it takes."""
    text = f"at {time.time_ns()}\n"
    offer(web1.hub, {"files/etc/motd": text})
    time.sleep(3)
    return web1.read("/etc/motd") != text


def test_another_configuration_takes_effect_when_it_is_read_again(web1: Puller) -> None:
    offer(web1.hub)
    offer(web1.hub, {"files/etc/more": "more\n"}, "more")
    web1.configure()
    with running(web1.pacha) as agent:
        time.sleep(2)
        assert not web1.has("/etc/motd")
        web1.configure('[push]\npull = ["base", "more"]\nevery = "1s"\n')
        agent.signal(signal.SIGHUP)
        until(lambda: web1.has("/etc/motd") and web1.has("/etc/more"))
        until(lambda: len(pulls(web1)) == 2)
        text = web1.pacha.config.read_text().replace('"base", ', "")
        web1.pacha.config.write_text(text)
        agent.signal(signal.SIGHUP)
        until(lambda: [one["deployment"] for one in pulls(web1)] == ["more"])
        # One may have begun just before it was told.
        until(lambda: _is_left_alone(web1), 30)


def test_a_person_who_holds_the_lock_is_waited_for_and_that_is_no_failure(web1: Puller) -> None:
    offer(web1.hub, {"files/etc/own": "x\n", "hooks/post-push/10-wait": "#!/bin/sh\nsleep 12\n"}, "own")
    offer(web1.hub)
    person = web1.pacha.start("pull", "own", "-y", "--json")
    until(lambda: web1.has("/etc/own"))
    with running(web1.pacha) as agent:
        until(lambda: web1.has("/etc/motd"), 40)
        # 3: the agent has sent it at the same moment.
        assert web1.pacha.finish(person).code in (0, 3)
        until(lambda: "pull of base: changed" in agent.said())
        assert "pull of base: another" not in agent.said()
        assert "holds the lock" not in agent.said()
        assert [one["error"] for one in pulls(web1)] == [None]


def test_an_agent_that_is_ended_lets_the_pull_be_finished(web1: Puller) -> None:
    offer(web1.hub, {
        "files/etc/motd": "x\n",
        "hooks/post-push/10-wait": f"#!/bin/sh\nsleep 3\ntouch {web1.place}/was-here\n",
    })  # fmt: skip
    with running(web1.pacha) as agent:
        until(lambda: web1.has("/etc/motd"))
        assert agent.stop() == 0
    assert (web1.place / "was-here").exists()
    assert web1.read("/etc/motd") == "x\n"
    assert "/etc/motd" not in [one["path"] for one in web1.pacha.ok("status")["pending"]]


def test_a_pull_that_is_killed_is_told_and_tried_again(web1: Puller) -> None:
    web1.configure(WANTED.format("3s"))
    offer(web1.hub, {"files/etc/motd": "x\n", "hooks/post-push/10-wait": "#!/bin/sh\nsleep 4\n"})
    with running(web1.pacha) as agent:
        until(lambda: web1.has("/etc/motd"))
        for child in Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split():
            # Of the agent's processes the one that holds the lock.
            if (web1.pacha.state / "live.lock").read_text().startswith(f"{child} "):
                os.kill(int(child), signal.SIGKILL)
        until(lambda: "the worker ended unexpectedly" in agent.said())
        assert pulls(web1)[0]["error"]
        until(lambda: pulls(web1)[0]["error"] is None, 40)
        assert web1.read("/etc/motd") == "x\n"


def test_hooks_inherit_nothing_of_the_agents(web1: Puller) -> None:
    told = web1.place / "told"
    offer(web1.hub, {
        "files/etc/motd": "x\n",
        "hooks/post-push/10-tell": f"#!/bin/sh\ngrep SigIgn /proc/$$/status > {told}.new\n"
        f"ls -l /proc/$$/fd >> {told}.new\nmv {told}.new {told}\n",
    })  # fmt: skip
    with running(web1.pacha) as agent:
        until(told.exists)
        ignored = int(told.read_text().split()[1], 16)
        assert not ignored & (1 << signal.SIGTERM - 1 | 1 << signal.SIGINT - 1 | 1 << signal.SIGHUP - 1)
        assert "agent.lock" not in told.read_text()
        assert agent.process.poll() is None


def test_idle_it_keeps_no_process_little_memory_and_sleeps(web1: Puller) -> None:
    web1.configure(WANTED.format("1h"))
    offer(web1.hub)
    agent = start(web1.pacha, before=ALONE)
    try:
        until(lambda: web1.has("/etc/motd"))
        until(lambda: pulls(web1))
        agent.settle()
        children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children")
        # Those that capture and send stay for half a minute.
        until(lambda: children.read_text() == "", 60)
        time.sleep(13)  # a last look around, once nothing has happened for a while
        assert megabytes(agent.pid) < 20
        before = wakeups(agent.pid)
        time.sleep(5)
        assert wakeups(agent.pid)[0] == before[0]
    finally:
        agent.stop()


def test_cron_pulls_what_is_due(web1: Puller) -> None:
    web1.configure(WANTED.format("1h"))
    offer(web1.hub)
    first = web1.pacha.ok("agent", "--once")
    assert [one["deployment"] for one in first["pulls"]] == ["base"]
    assert web1.has("/etc/motd")
    assert revisions(web1.pacha, "/etc/motd")[0]["id"] == first["pulls"][0]["revision"]
    assert web1.pacha.ok("agent", "--once")["pulls"] == []
    offer(web1.hub, {"pacha.toml": "wrong = 1\n"})
    web1.pacha.config.write_text(web1.pacha.config.read_text().replace('"1h"', '"1s"'))
    time.sleep(1)
    failed = web1.pacha.run("agent", "--once")
    assert failed.code == 3
    assert "base/pacha.toml:1" in failed.err
    assert web1.pacha.run("status", "--check").code == 4
    offer(web1.hub)
    web1.pacha.config.write_text(web1.pacha.config.read_text().replace('"1s"', '"1h"'))
    assert web1.pacha.run("agent", "--once").code == 0  # at once: it has failed before
    assert web1.pacha.ok("status")["pulls"][0]["error"] is None
