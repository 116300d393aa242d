"""The agent as a service: signals, configuration, its end and what comes after, a person's maintenance."""

from __future__ import annotations

import json
import re
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from tests.agents import Agent, is_stored, running, start, until
from tests.command import Pacha
from tests.steps import newest, pending, revisions, watch_first


def text(pacha: Pacha, path: Path) -> str:
    """The file as the last revision has it."""
    return pacha.run("cat", path).out


def slowly(pacha: Pacha, seconds: str) -> None:
    """Let the agent wait that long before it captures."""
    with open(pacha.config, "a") as config:
        config.write(f'\n[capture]\nquiet = "{seconds}"\nlimit = "{seconds}"\n')


def hook(pacha: Pacha, moment: str, script: str) -> Path:
    """Install a hook."""
    path = pacha.config.parent / "hooks" / moment / "50-test"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


# -- the end -------------------------------------------------------------------------------------------


def test_sigterm_takes_what_waits(pacha: Pacha, live: Path) -> None:
    watch_first(pacha, live)
    slowly(pacha, "60s")
    with running(pacha) as agent:
        (live / "file").write_text("two\n")
        (live / "new").write_text("new\n")
        until(lambda: agent.told()["queue"] >= 2)
        assert len(revisions(pacha)) == 1
        assert agent.stop() == 0
    assert text(pacha, live / "file") == "two\n"
    assert text(pacha, live / "new") == "new\n"
    assert pending(pacha) == []


def test_sigterm_lets_the_capture_at_hand_finish(pacha: Pacha, live: Path, tmp_path: Path) -> None:
    watch_first(pacha, live)
    sign = tmp_path / "hook runs"
    gate = tmp_path / "the hook may end"
    hook(pacha, "pre-capture", f"touch '{sign}'; while ! [ -e '{gate}' ]; do sleep 0.05; done")
    gate.touch()
    pacha.ok("capture")
    with running(pacha) as agent:
        sign.unlink()
        gate.unlink()
        (live / "file").write_text("two\n")
        until(sign.exists)
        (live / "new").write_text("made while the capture ran\n")
        agent.signal(signal.SIGTERM)
        time.sleep(0.3)
        assert agent.process.poll() is None
        gate.touch()
        assert agent.process.wait(20) == 0
    assert "Traceback" not in agent.said()
    assert text(pacha, live / "file") == "two\n"
    assert is_stored(pacha, live / "new")


def test_what_was_written_just_before_sigterm_is_taken(pacha: Pacha, live: Path) -> None:
    watch_first(pacha, live)
    for turn in range(5):
        with running(pacha) as agent:
            (live / "file").write_text(f"turn {turn}\n")
            assert agent.stop() == 0
            assert is_stored(pacha, live / "file"), turn


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_agent_ends_at_once(agent: Agent, number: int) -> None:
    started = time.monotonic()
    agent.signal(number)
    assert agent.process.wait(10) == 0
    assert time.monotonic() - started < 5
    assert agent.pacha.ok("status")["agent"] == {
        "running": False, "pid": None, "events": None, "mode": None, "died": False, "stuck": False,
    }  # fmt: skip


def test_after_a_kill_the_next_one_captures_what_was_missed(agent: Agent, pacha: Pacha, live: Path) -> None:
    agent.signal(signal.SIGKILL)
    agent.process.wait()
    told = pacha.ok("status")["agent"]
    assert (told["running"], told["pid"], told["died"]) == (False, None, True)
    assert "died" in pacha.run("status").out
    (live / "file").write_text("while nobody listened\n")
    (live / "new").write_text("new\n")
    # The socket of the one before is no obstacle.
    with running(pacha) as second:
        until(lambda: is_stored(pacha, live / "file") and is_stored(pacha, live / "new"))
        second.settle()
        last = revisions(pacha)[0]
        assert (last["author"], last["who"], last["cause"]) == ("unknown", [], "agent")
        assert second.stop() == 0


def test_one_that_is_too_busy_to_answer_has_not_died(agent: Agent, pacha: Pacha, live: Path) -> None:
    agent.signal(signal.SIGSTOP)
    try:
        (live / "file").write_text("two\n")
        # Each waits for an answer for a while.
        asked, shown = pacha.start("status", "--json"), pacha.start("status")
        told = pacha.finish(asked).json
        assert (told["agent"]["died"], told["agent"]["stuck"]) == (False, True)
        assert "does not answer" in pacha.finish(shown).out
        assert [item["path"] for item in told["pending"]] == [str(live / "file")]
    finally:
        agent.signal(signal.SIGCONT)
    until(lambda: is_stored(pacha, live / "file"))


def test_a_second_agent_is_refused(agent: Agent, pacha: Pacha, live: Path) -> None:
    result = pacha.run("agent")
    assert result.code == 5
    assert result.out == ""
    first, *rest = result.err.strip().splitlines()
    assert "agent is running" in first
    assert len(rest) <= 1
    result = pacha.run("agent", "--json")
    assert (result.code, result.json["error"]["kind"]) == (5, "busy")
    # The first one has not suffered.
    (live / "file").write_text("two\n")
    until(lambda: is_stored(pacha, live / "file"))
    assert agent.told()["pid"] == agent.pid


# -- the configuration ---------------------------------------------------------------------------------


def test_sighup_takes_a_new_configuration_and_says_what_changed(
    agent: Agent, pacha: Pacha, live: Path
) -> None:
    before = agent.said().count("configuration read again")
    agent.signal(signal.SIGHUP)
    until(lambda: agent.said().count("configuration read again") > before)
    assert "nothing has changed" in agent.said()
    slowly(pacha, "1ms")
    agent.signal(signal.SIGHUP)
    until(lambda: "capture.quiet" in agent.said() and "capture.limit" in agent.said())
    until(lambda: agent.told()["running"])
    (live / "file").write_text("two\n")
    until(lambda: is_stored(pacha, live / "file"))
    assert agent.process.poll() is None


def test_sighup_takes_a_watch_and_lets_one_go(agent: Agent, pacha: Pacha, live: Path, arena: Path) -> None:
    other = arena / "other"
    other.mkdir()
    (other / "a").write_text("a\n")
    pacha.config.write_text(f'watch = ["{other}"]\n')
    agent.signal(signal.SIGHUP)
    until(lambda: is_stored(pacha, other / "a"))
    (other / "a").write_text("b\n")
    until(lambda: is_stored(pacha, other / "a"))
    agent.settle()
    count = len(revisions(pacha))
    (live / "file").write_text("no longer watched\n")
    time.sleep(0.5)
    agent.settle()
    assert len(revisions(pacha)) == count


BROKEN = ["watch = [\n", 'watch = ["relative"]\n', "[capture]\nquiet = 7\n", "x = 1\n"]


def test_a_broken_configuration_leaves_the_old_one_in_force(agent: Agent, pacha: Pacha, live: Path) -> None:
    good = pacha.config.read_text()

    def says(words: str, before: int) -> bool:
        return bool(re.search(words, agent.said()[before:], re.MULTILINE))

    for turn, broken in enumerate(BROKEN, 1):
        before = len(agent.said())
        pacha.config.write_text(broken)
        agent.signal(signal.SIGHUP)
        until(partial(says, "configuration in force stays", before))
        (live / "file").write_text(f"captured all the same, {turn}\n")
        assert says(re.escape(str(pacha.config)), before), "which file"
        # No other command works meanwhile; the agent's own words tell of the revision.
        until(partial(says, "^pacha: [0-9a-f]{12} ", before))
        time.sleep(0.3)
        pacha.config.write_text(good)
        until(partial(is_stored, pacha, live / "file"))
        agent.settle()
        taken = [revision for revision in revisions(pacha, live / "file") if revision["cause"] == "agent"]
        assert len(taken) == turn
        assert agent.process.poll() is None


def test_a_configuration_that_is_being_written_is_not_taken(agent: Agent, pacha: Pacha, live: Path) -> None:
    """It is empty for a moment, which would be a valid one that watches nothing."""
    good = pacha.config.read_text()
    for turn in range(5):
        with open(pacha.config, "w") as config:
            time.sleep(0.03)
            config.write(f"# turn {turn}\n{good}")
        until(lambda: is_stored(pacha, pacha.config))
    agent.settle()
    assert revisions(pacha, live / "file")[0]["cause"] == "watch"
    assert "watch" not in "".join(line for line in agent.said().splitlines() if "read again" in line)


def test_watch_makes_a_running_agent_hear_the_new_path(agent: Agent, pacha: Pacha, arena: Path) -> None:
    new = arena / "new"
    new.mkdir()
    (new / "a").write_text("a\n")
    pacha.ok("watch", new)
    (new / "a").write_text("at once after the command\n")
    until(lambda: is_stored(pacha, new / "a"))
    (new / "a").write_text("later\n")
    until(lambda: is_stored(pacha, new / "a"))
    pacha.ok("unwatch", new)
    agent.settle()
    assert agent.process.poll() is None


# -- maintenance ---------------------------------------------------------------------------------------


def test_a_change_holds_the_agent_back(agent: Agent, pacha: Pacha, live: Path) -> None:
    (live / "file").write_text("before\n")
    pacha.ok("change", "begin", "-m", "OPS-7")
    before = len(revisions(pacha))
    for turn in range(4):
        (live / "file").write_text(f"during {turn}\n")
        (live / f"new{turn}").write_text("new\n")
        time.sleep(0.3)
    assert len(revisions(pacha)) == before
    told = agent.told()
    assert told["held"] is True
    assert {path for _, path in pending(pacha)} >= {str(live / "file"), str(live / "new3")}
    ended = pacha.ok("change", "end")
    assert newest(pacha) == ended["revision"]
    (live / "sub" / "after").write_text("after\n")
    until(lambda: is_stored(pacha, live / "sub" / "after"))
    agent.settle()
    found = revisions(pacha)
    assert [revision["cause"] for revision in found[:2]] == ["agent", "change"]
    assert [revision["message"] for revision in found].count("OPS-7") == 1
    assert len(found) == before + 2
    assert pacha.run("verify").code == 0
    assert text(pacha, live / "file") == "during 3\n"


def test_a_change_that_an_agent_is_ended_in(agent: Agent, pacha: Pacha, live: Path) -> None:
    pacha.ok("change", "begin", "-m", "OPS-8")
    before = len(revisions(pacha))
    (live / "file").write_text("during\n")
    time.sleep(0.3)
    assert agent.stop() == 0
    assert len(revisions(pacha)) == before
    second = start(pacha, ready=False)
    try:
        time.sleep(1.0)
        assert len(revisions(pacha)) == before
        pacha.ok("change", "end")
        until(lambda: second.told()["running"])
        second.settle()
        assert len(revisions(pacha)) == before + 1
        (live / "file").write_text("after\n")
        until(lambda: is_stored(pacha, live / "file"))
    finally:
        assert second.stop() == 0


# -- hooks ---------------------------------------------------------------------------------------------


def test_a_slow_notification_holds_nothing_up(pacha: Pacha, live: Path, tmp_path: Path) -> None:
    watch_first(pacha, live)
    told, gate = tmp_path / "told", tmp_path / "gate"
    hook(
        pacha, "post-capture", f'while ! [ -e {gate} ]; do sleep 0.05; done; echo "$PACHA_REVISION" >> {told}'
    )
    with running(pacha) as agent:
        for words in ("two", "three"):
            (live / "file").write_text(f"{words}\n")
            until(lambda: is_stored(pacha, live / "file"))
        agent.signal(signal.SIGHUP)
        until(lambda: "configuration read again" in agent.said())
        (live / "file").write_text("four\n")
        until(lambda: is_stored(pacha, live / "file"))
        assert not told.exists()
        gate.touch()
        made = [revision["id"] for revision in reversed(revisions(pacha)[:3])]
        until(lambda: told.exists() and set(made) <= set(told.read_text().split()))
        # The last one was made by a new worker.
        assert [one for one in told.read_text().split() if one in made[:2]] == made[:2]
        until(lambda: "Z" not in states(agent.pid))


def test_the_end_waits_for_the_hooks(pacha: Pacha, live: Path, tmp_path: Path) -> None:
    watch_first(pacha, live)
    told = tmp_path / "told"
    hook(pacha, "post-capture", f"sleep 1; cat > {told}; exit 3")
    with running(pacha) as agent:
        (live / "file").write_text("two\n")
        until(lambda: is_stored(pacha, live / "file"))
    assert json.loads(told.read_text())["changed"] == [{"path": str(live / "file"), "change": "modified"}]
    assert "post-capture/50-test failed (exit 3)" in agent.said()


def states(pid: int) -> str:
    """The letters of the states of a process's children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return "".join(
        Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] for child in children
    )
