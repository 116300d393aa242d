"""A rebuild that is taken back, given up or superseded: what whoever rebuilds the host later aims at."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests import needs
from tests.oracle import compare
from tests.rebuild.machines import Machine
from tests.rebuild.test_files import hook
from tests.steps import revisions

pytestmark = [needs.root, needs.tools]
FILES = {"/etc/app/x": "x\n", "/etc/hosts": "web1\n"}


@pytest.fixture
def web1(tmp_path: Path) -> Machine:
    """A host with two states: `old` of its revisions, and the newest."""
    machine = Machine(tmp_path / "web1", "web1", FILES)
    machine.pacha.ok("watch", "/etc")
    machine.write({"/etc/app/x": "newer\n", "/etc/new": "x\n"})
    machine.pacha.ok("capture")
    return machine


def old(machine: Machine) -> str:
    """Its first revision."""
    return str(revisions(machine.pacha)[-1]["id"])


def come_back(source: Machine, place: Path) -> Machine:
    """A machine that was rebuilt from all that another one has recorded."""
    third = Machine(place, None, {"/etc/third": "x\n"})
    third.rebuilt(source.pacha.store)
    return third


def unconfirmed(machine: Machine, *more: str) -> None:
    """A rebuild from the machine's own history that nobody confirms."""
    machine.pacha.ok("rebuild", "web1", "-y", "--confirm", "1s", *more)
    time.sleep(1.2)
    machine.pacha.ok("capture")
    assert revisions(machine.pacha)[0]["cause"] == "undo"


def test_the_host_itself_owes_nothing_for_what_nobody_confirmed(web1: Machine, tmp_path: Path) -> None:
    unconfirmed(web1, "--to", old(web1))
    assert web1.read("/etc/app/x") == "newer\n"
    third = come_back(web1, tmp_path / "third")
    assert compare(web1.root / "etc", third.root / "etc") == []
    assert web1.pacha.ok("rebuild", "-n")["steps"] == []


@pytest.mark.parametrize("pending", [False, True])
def test_the_host_itself_owes_nothing_for_what_was_rolled_back(
    web1: Machine, tmp_path: Path, pending: bool
) -> None:
    if pending:
        web1.write({"/etc/hosts": "not captured\n"})
    before = web1.pacha.ok("rebuild", "-y", "--to", old(web1))["before"]
    assert not web1.has("/etc/new")
    if pending:  # also where it was not whole yet
        hook(web1, "post-rebuild", "exit 1")
        web1.write({"/etc/new": "y\n"})
        assert web1.pacha.run("rebuild", "-y", "--to", old(web1)).code == 1
    web1.pacha.ok("rollback", "/etc", "--to", before, "-y")
    assert (web1.read("/etc/app/x"), web1.read("/etc/new")) == ("newer\n", "x\n")
    third = come_back(web1, tmp_path / "third")
    assert compare(web1.root / "etc", third.root / "etc") == []


def test_the_host_itself_owes_nothing_where_a_hook_said_no_at_once(web1: Machine, tmp_path: Path) -> None:
    hook(web1, "pre-rebuild", "exit 1")
    assert web1.pacha.run("rebuild", "-y", "--to", old(web1)).code == 1
    third = come_back(web1, tmp_path / "third")
    assert compare(web1.root / "etc", third.root / "etc") == []
    assert web1.pacha.ok("status")["rebuild"] is not None
    web1.pacha.ok("rollback", "/etc", "--to", revisions(web1.pacha)[0]["id"], "-y")
    assert web1.pacha.ok("status")["rebuild"] is None, "it is over, though no file had to go back"


def test_the_host_itself_owes_what_a_failed_one_was_to_bring(web1: Machine, tmp_path: Path) -> None:
    """Begun and given up half-way, it is between two states: the one that was asked for counts."""
    hook(web1, "post-rebuild", "exit 1")
    assert web1.pacha.run("rebuild", "-y", "--to", old(web1)).code == 1
    web1.write({"/etc/later": "x\n"})
    web1.pacha.ok("capture")
    third = come_back(web1, tmp_path / "third")
    assert (third.read("/etc/app/x"), third.read("/etc/later")) == ("x\n", "x\n")
    assert not third.has("/etc/new")


@pytest.mark.parametrize("how", ["unconfirmed", "rolled back"])
def test_what_was_owed_before_is_owed_again_with_the_work_done_since(
    web1: Machine, tmp_path: Path, how: str
) -> None:
    fresh = Machine(tmp_path / "fresh", None, {"/etc/motd": "fresh\n"})
    assert fresh.rebuild(web1.pacha.store, "--skip", "files").code == 0
    fresh.write({"/etc/mine": "x\n"})
    fresh.pacha.ok("capture")
    if how == "unconfirmed":
        unconfirmed(fresh)
    else:
        before = revisions(fresh.pacha)[0]["id"]
        fresh.pacha.ok("rebuild", "web1", "-y")
        fresh.pacha.ok("rollback", "/etc", "--to", before, "-y")
    assert (fresh.read("/etc/motd"), fresh.has("/etc/app")) == ("fresh\n", False)
    third = come_back(fresh, tmp_path / "third")
    names = {path.name for path in (third.root / "etc").iterdir()}
    assert names == {"app", "hosts", "mine", "new"}
    assert third.read("/etc/app/x") == "newer\n"


def test_a_copy_owes_nothing_for_what_it_was_to_be_before(web1: Machine, tmp_path: Path) -> None:
    web2 = Machine(tmp_path / "web2", "web2", {"/etc/two": "x\n"})
    web2.pacha.ok("watch", "/etc")
    fresh = Machine(tmp_path / "fresh", None)
    assert fresh.rebuild(web2.pacha.store, "--skip", "files").code == 0
    fresh.rebuilt(web1.pacha.store, "--as-new", "web2")
    third = come_back(fresh, tmp_path / "third")
    assert not third.has("/etc/two")
    assert compare(fresh.root / "etc", third.root / "etc") == []


def test_a_file_that_somebody_changed_keeps_its_folder(web1: Machine, tmp_path: Path) -> None:
    """The host had no such folder, or has something else of that name."""
    web1.write({"/etc/e": "a file\n"})
    web1.pacha.ok("capture")
    fresh = Machine(tmp_path / "fresh", None, {"/etc/d/deep/a": "fresh\n", "/etc/e/a": "fresh\n"})
    assert fresh.rebuild(web1.pacha.store, "--skip", "files").code == 0
    fresh.write({"/etc/d/deep/a": "mine\n", "/etc/e/a": "mine\n"})
    fresh.pacha.ok("capture")
    third = come_back(fresh, tmp_path / "third")
    assert (third.read("/etc/d/deep/a"), third.read("/etc/e/a")) == ("mine\n", "mine\n")
    assert third.read("/etc/hosts") == "web1\n"


def test_work_on_what_one_that_came_short_has_brought(web1: Machine, tmp_path: Path) -> None:
    """The machine lives on with what it got: what is taken away then, or made as a fresh one had it, stays so."""
    fresh = Machine(tmp_path / "fresh", None, {"/etc/hosts": "fresh\n"})
    fresh.write({"/etc/mine": "x\n"})
    assert fresh.rebuild(web1.pacha.store, "--skip", "users").code == 0
    fresh.write({"/etc/later": "x\n", "/etc/hosts": "fresh\n"})
    (fresh.root / "etc/new").unlink()
    fresh.pacha.ok("capture")
    assert fresh.pacha.ok("rebuild", "web1", "-y", "--skip", "users")["left"] == []
    third = come_back(fresh, tmp_path / "third")
    assert compare(fresh.root / "etc", third.root / "etc") == []
    assert (third.has("/etc/new"), third.read("/etc/hosts")) == (False, "fresh\n")


def test_doctor_takes_away_no_watch_of_what_is_still_to_come(web1: Machine, tmp_path: Path) -> None:
    web1.write({"/opt/tool/conf": "x\n"})
    web1.pacha.ok("watch", "/opt/tool")
    fresh = Machine(tmp_path / "fresh", None)
    assert fresh.rebuild(web1.pacha.store, "--skip", "files").code == 0
    told = fresh.pacha.run("doctor").out
    assert "/opt/tool does not exist" in told
    assert "pacha unwatch" not in told and "pacha rebuild web1 brings back" in told
    fresh.pacha.ok("rebuild", "web1", "-y")
    (fresh.root / "opt/tool/conf").unlink()
    (fresh.root / "opt/tool").rmdir()
    assert "pacha unwatch /opt/tool" in fresh.pacha.run("doctor").out


def test_no_server_is_told_of_where_there_is_none(web1: Machine, tmp_path: Path) -> None:
    fresh = Machine(tmp_path / "fresh", None)
    for machine, more in ((web1, ()), (fresh, ("--from", str(web1.pacha.store)))):
        result = machine.pacha.run("rebuild", "web1", *more, "--only", "/etc/no", "-n", "--json")
        assert result.code == 2 and "--to R" in result.json["error"]["hint"], result
