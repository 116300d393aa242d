"""`rebuild --confirm`: kept when confirmed; else the machine is what it was, also where all was killed."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests import needs
from tests.agents import until
from tests.oracle import compare, save_twin
from tests.rebuild.machines import Machine
from tests.rebuild.test_files import hook
from tests.steps import revisions

pytestmark = [needs.root, needs.tools]


@pytest.fixture
def fresh(tmp_path: Path) -> Machine:
    """What it has: files of its own, and one that the host has otherwise; its twin is beside it."""
    machine = Machine(tmp_path / "fresh", None, {"/etc/hosts": "fresh\n", "/etc/own/x": "mine\n"})
    os.chmod(machine.root / "etc/own/x", 0o640)
    return machine


def saved(machine: Machine) -> Path:
    """A twin of its /etc, to compare with."""
    twin = machine.place / "twin"
    save_twin(machine.root / "etc", twin)
    return twin


def undone(machine: Machine, twin: Path, seconds: float) -> None:
    """Wait until it is what it was, without asking anything of it."""
    until(lambda: is_as(twin, machine.root / "etc"), seconds)
    until(lambda: machine.pacha.ok("status")["unconfirmed"] == [])  # killed early, nothing had changed


def is_as(twin: Path, tree: Path) -> bool:
    """Whether two trees are alike, of which one may be changing."""
    try:
        return compare(twin, tree) == []
    except RuntimeError:
        return False


def test_kept_when_confirmed(web1: Machine, fresh: Machine) -> None:
    done = fresh.rebuilt(web1.pacha.store, "--confirm", "60s")
    (waits,) = fresh.pacha.ok("status")["unconfirmed"]
    assert (waits["id"], waits["verb"]) == (done["confirm"], "rebuild")
    again = fresh.rebuild(web1.pacha.store, "--only", "/etc/app")
    assert again.code in (0, 1)
    assert fresh.pacha.ok("confirm", done["confirm"])["verb"] == "rebuild"
    assert compare(web1.root / "etc", fresh.root / "etc") == []
    assert fresh.pacha.ok("status")["unconfirmed"] == []


def test_undone_when_nobody_confirms(web1: Machine, fresh: Machine) -> None:
    twin = saved(fresh)
    assert fresh.rebuilt(web1.pacha.store, "--confirm", "1s")["confirm"]
    undone(fresh, twin, 20)
    assert fresh.pacha.ok("status")["rebuild"] is None
    third = Machine(fresh.place / "third", None)
    third.rebuilt(fresh.pacha.store)
    assert compare(web1.root / "etc", third.root / "etc") == [], "the host is still to be had from there"
    fresh.rebuilt(web1.pacha.store)
    assert compare(web1.root / "etc", fresh.root / "etc") == []


def test_a_failing_hook_does_not_wait(web1: Machine, fresh: Machine) -> None:
    twin = saved(fresh)
    hook(fresh, "post-rebuild", "exit 1")
    result = fresh.rebuild(web1.pacha.store, "--confirm", "1h")
    assert result.code == 1 and "put back" in result.json["error"]["message"], result
    assert compare(twin, fresh.root / "etc") == []
    assert fresh.pacha.ok("status")["unconfirmed"] == []


def test_owners_that_moved_are_as_they_were(tmp_path: Path) -> None:
    web1 = Machine(tmp_path / "web1", "web1", {"/etc/app/x": "x\n"})
    web1.accounts(users={"app": 2001})
    os.chown(web1.root / "etc/app/x", 2001, 2001)
    web1.pacha.ok("watch", "/etc")
    fresh = Machine(tmp_path / "fresh", None, {"/etc/app/x": "fresh\n", "/etc/app/y": "fresh\n"})
    fresh.accounts(users={"app": 2002})
    for name in "xy":
        os.chown(fresh.root / "etc/app" / name, 2002, 2002)
    twin = saved(fresh)
    fresh.rebuilt(web1.pacha.store, "--confirm", "2s")
    assert (fresh.root / "etc/app/x").stat().st_uid == 2001
    undone(fresh, twin, 20)


def test_what_was_done_meanwhile_is_in_the_history(web1: Machine, fresh: Machine) -> None:
    twin = saved(fresh)
    fresh.rebuilt(web1.pacha.store, "--confirm", "2s")
    fresh.write({"/etc/app/x": "meanwhile\n"})
    undone(fresh, twin, 20)
    found = {fresh.pacha.run("cat", "/etc/app/x", "--at", one["id"]).out for one in revisions(fresh.pacha)}
    assert "meanwhile\n" in found


def test_killed_anywhere_it_is_undone_by_itself(web1: Machine, fresh: Machine) -> None:
    web1.write({f"/etc/many/{number}": f"{number}\n" for number in range(200)})
    web1.pacha.ok("capture")
    twin = saved(fresh)
    instants = random.Random(7)
    for _ in range(6):
        process = fresh.pacha.start("rebuild", "--from", web1.pacha.store, "-y", "--confirm", "3s")
        time.sleep(instants.uniform(0.2, 2.0))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        undone(fresh, twin, 30)


def test_killed_with_files_half_written_it_leaves_no_folder(web1: Machine, fresh: Machine) -> None:
    web1.write({f"/etc/many/{number}": f"{number}\n" for number in range(200)})
    web1.pacha.ok("capture")
    twin, many = saved(fresh), fresh.root / "etc/many"
    process = fresh.pacha.start("rebuild", "--from", web1.pacha.store, "-y", "--confirm", "3s")
    while not (many.exists() and os.listdir(many)):
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (many / "199").exists(), "it was at work"
    undone(fresh, twin, 30)


@pytest.mark.parametrize(
    "words", [("--confirm", "0s"), ("--confirm", "soon"), ("--confirm", "1s", "--root", "/tmp")]
)
def test_what_makes_no_sense(web1: Machine, fresh: Machine, words: tuple[str, ...]) -> None:
    twin = saved(fresh)
    assert fresh.rebuild(web1.pacha.store, *words).code == 2
    assert compare(twin, fresh.root / "etc") == []


def test_nothing_else_is_rebuilt_while_one_waits(web1: Machine, fresh: Machine) -> None:
    done = fresh.rebuilt(web1.pacha.store, "--confirm", "60s")
    web1.write({"/etc/app/x": "newer\n"})
    web1.pacha.ok("capture")
    result = fresh.rebuild(web1.pacha.store)
    assert (result.code, result.json["error"]["kind"]) == (1, "refused"), result
    assert done["confirm"] in result.json["error"]["hint"]
    fresh.pacha.ok("confirm", done["confirm"])
    fresh.rebuilt(web1.pacha.store)
    assert fresh.read("/etc/app/x") == "newer\n"
