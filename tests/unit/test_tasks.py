"""What the worker is asked, in which order, and again when it failed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.said import Said

from pacha.agent.batch import Batch, Group, Settings
from pacha.agent.tasks import POLL_NS, RECONCILE_NS, RESTLESS_NS, UNSTABLE_NS, Tasks
from pacha.core.maintenance import LIMIT_NS
from pacha.core.who import Run, Who

SECOND = 1_000_000_000
ALICE = Who(1, "root", "alice", "/usr/bin/sed", "sed -i s/80/8080/ ports.conf", "sudo")


@pytest.fixture
def tasks(said: Said, tmp_path: Path) -> Tasks:
    return Tasks(said, str(tmp_path / "change.json"), 0)


def batch() -> Batch:
    return Batch(Settings(1, 1))


def group(*paths: bytes, who: Who | None = ALICE) -> Group:
    made = Group(0)
    for path in paths:
        made.add(path, who, 0)
    return made


def done(tasks: Tasks, waiting: Batch | None = None, now: int = 0, **answer: Any) -> None:
    made = {"revision": None, "status": {"pending": []}, **answer}
    tasks.done(made, waiting or batch(), now)


def test_a_revision_says_whose_it_is(tasks: Tasks) -> None:
    tasks.add(group(b"/etc/ports.conf"))
    request = tasks.take(0)
    assert request is not None
    assert request["message"] == "alice via sudo: sed -i s/80/8080/ ports.conf"
    assert (request["author"], request["cause"], request["paths"]) == ("alice", "agent", [b"/etc/ports.conf"])
    assert request["who"][0]["login"] == "alice"
    assert tasks.take(0) is None


def test_nobody_is_guessed(tasks: Tasks) -> None:
    tasks.add(group(b"/a", who=None))
    request = tasks.take(0)
    assert request is not None
    assert (request["author"], request["message"], request["who"]) == ("unknown", "", [])
    mixed = group(b"/a")
    mixed.add(b"/a", None, 0)
    tasks.add(mixed)
    request = tasks.take(0)
    assert request is not None
    assert request["author"] == "alice, unknown"


def test_of_secrets_the_arguments_are_not_kept(tasks: Tasks) -> None:
    tasks.configure(["/etc/shadow*"], [], 0)
    tasks.add(group(b"/etc/hosts", b"/etc/shadow-"))
    request = tasks.take(0)
    assert request is not None
    assert "8080" not in str(request)
    assert request["message"] == "alice via sudo: sed …"


def test_a_package_manager_s_run_is_the_cause(tasks: Tasks) -> None:
    run = Run(7, 1, "apt install nginx")
    tasks.add(group(b"/etc/nginx", who=ALICE._replace(command="dpkg --unpack x", run=run)))
    request = tasks.take(0)
    assert request is not None
    assert (request["cause"], request["message"]) == (
        "apt install nginx",
        "alice via sudo: apt install nginx",
    )


def test_of_a_run_that_writes_secrets_the_arguments_are_not_kept(tasks: Tasks) -> None:
    tasks.configure(["/etc/shadow*"], [], 0)
    run = Run(7, 1, "apt install nginx")
    tasks.add(group(b"/etc/shadow", who=ALICE._replace(command="useradd -p x y", run=run)))
    request = tasks.take(0)
    assert request is not None
    assert (request["cause"], request["message"]) == ("apt …", "alice via sudo: apt …")
    assert "nginx" not in str(request) and "-p" not in str(request)


def test_changes_come_before_a_look_and_a_look_every_hour(tasks: Tasks) -> None:
    assert tasks.next_ns(0) == RECONCILE_NS
    tasks.look()
    tasks.add(group(b"/a"))
    first, second = tasks.take(0), tasks.take(0)
    assert first is not None
    assert second is not None
    assert ("look" in first, "look" in second) == (False, True)
    looked = [tasks.has_looked]
    done(tasks)
    assert [*looked, tasks.has_looked] == [False, True]
    assert tasks.take(RECONCILE_NS - 1) is None
    assert tasks.take(RECONCILE_NS) == {"look": True, "group": None}


def test_what_a_look_finds_waits_for_its_author(tasks: Tasks) -> None:
    waiting = batch()
    waiting.add(b"/known", ALICE, 0)
    tasks.look()
    tasks.take(0)
    done(tasks, waiting, found=[b"/known", b"/new"])
    groups = waiting.all()
    assert [(sorted(g.paths), g.has_unknown) for g in groups] == [([b"/known"], False), ([b"/new"], True)]


def test_a_failure_is_tried_again_with_growing_pauses_and_said_once(tasks: Tasks, said: Said) -> None:
    waiting = batch()
    problem = {"kind": "no-space", "message": "no space left", "hint": "free some"}
    pauses = []
    now = 0
    tasks.add(group(b"/a"))
    for _ in range(12):
        request = tasks.take(now, at_once=True)
        assert request is not None
        tasks.failed(problem, waiting, now)
        (again,) = waiting.all()
        tasks.add(again)
        assert tasks.take(now) is None
        pauses.append(tasks.next_ns(now) - now)
        now = tasks.next_ns(now)
    assert pauses[0] < pauses[1] < pauses[-1] == 60 * SECOND
    assert said.lines == ["no space left (free some)"]
    assert tasks.told()["problem"] == problem
    assert tasks.take(now) is not None
    done(tasks)
    assert tasks.problem is None
    assert said.lines[-1] == "captures work again"


def test_what_a_hook_refuses_is_left_until_the_next_look(tasks: Tasks) -> None:
    waiting = batch()
    tasks.add(group(b"/a"))
    tasks.take(0)
    tasks.failed({"kind": "hook", "message": "no", "hint": ""}, waiting, 0)
    assert (len(waiting), tasks.take(SECOND)) == (0, None)
    assert tasks.problem is not None


def test_restless_unstable_and_unmarked_paths_are_looked_at_again(tasks: Tasks) -> None:
    done(tasks, deferred=[b"/log"], unstable=[b"/torn"])
    assert tasks.next_ns(0) == UNSTABLE_NS
    request = tasks.take(UNSTABLE_NS)
    assert request is not None
    assert request["paths"] == [b"/torn"]
    done(tasks)
    request = tasks.take(RESTLESS_NS)
    assert request is not None
    assert request["paths"] == [b"/log"]
    done(tasks)
    tasks.configure([], [b"/mnt"], RESTLESS_NS)
    soon = tasks.next_ns(RESTLESS_NS)
    request = tasks.take(soon)
    assert request is not None
    assert request["paths"] == [b"/mnt"]
    assert tasks.next_ns(soon) == soon + POLL_NS


def test_an_open_change_holds_everything_back_but_not_for_ever(tasks: Tasks, tmp_path: Path) -> None:
    file = tmp_path / "change.json"
    file.write_text("{}")
    tasks.add(group(b"/a"))
    assert tasks.check_held()
    assert (tasks.take(0), tasks.paths_wait) == (None, False)
    old = file.stat().st_mtime_ns - LIMIT_NS
    os.utime(file, ns=(old, old))
    assert not tasks.check_held()
    assert tasks.take(0) is not None
