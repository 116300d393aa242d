"""What a rebuild aims at: the last state of the host, never one of a machine that is not wholly rebuilt."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests import needs
from tests.agents import until
from tests.oracle import compare
from tests.rebuild.machines import Machine
from tests.rebuild.test_files import hook
from tests.rebuild.test_from_server import client, dead, server
from tests.server.hub import Hub
from tests.steps import revisions

__all__ = ["server"]

pytestmark = [needs.root, needs.tools, pytest.mark.xdist_group("rebuild-server")]
# In a mount namespace of its own: another machine by its id.
ELSEWHERE = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/machine-id && exec "$@"')


def as_another(machine: Machine, *words: str) -> tuple[int, str]:
    """Run Pacha as on a machine with an id of its own."""
    identity = machine.place / "machine-id"
    identity.write_text("f" * 32 + "\n")
    done = machine.pacha.run(*words, before=(*ELSEWHERE, str(identity)))
    return done.code, done.out + done.err


def test_a_capture_while_one_is_unfinished_is_no_state_of_the_host(web1: Machine, tmp_path: Path) -> None:
    fresh = Machine(tmp_path / "fresh", None, {"/etc/motd": "fresh\n"})
    hook(fresh, "pre-rebuild", "exit 1")
    assert fresh.rebuild(web1.pacha.store).code == 1
    fresh.write({"/etc/resolv.conf": "x\n"})
    fresh.pacha.ok("capture")
    assert revisions(fresh.pacha)[0]["cause"] == "before-rebuild"
    fresh.rebuilt(web1.pacha.store, "--skip", "hooks")
    assert compare(web1.root / "etc", fresh.root / "etc") == []


def test_what_was_left_out_comes_with_the_next(web1: Machine, tmp_path: Path) -> None:
    fresh = Machine(tmp_path / "fresh", None)
    fresh.rebuild(web1.pacha.store, "--skip", "files")
    assert not fresh.has("/etc/app/x")
    assert fresh.pacha.run("rebuild", "web1", "-y").code == 0  # from its own line
    assert fresh.read("/etc/app/x") == "x\n"
    assert revisions(fresh.pacha)[0]["cause"] == "rebuild"
    assert "nothing to do" in fresh.pacha.run("rebuild", "web1", "-y").out


def test_a_rebuild_that_is_rolled_back_is_over(web1: Machine, tmp_path: Path) -> None:
    fresh = Machine(tmp_path / "fresh", None, {"/etc/motd": "fresh\n"})
    hook(fresh, "post-rebuild", "exit 1")
    assert fresh.rebuild(web1.pacha.store).code == 1
    before = next(one["id"] for one in revisions(fresh.pacha) if one["cause"] == "before-rebuild")
    fresh.pacha.ok("rollback", "/etc", "--to", before, "-y")
    assert fresh.read("/etc/motd") == "fresh\n"
    assert fresh.pacha.ok("status")["rebuild"] is None
    hook(fresh, "post-rebuild", "exit 0")
    fresh.rebuilt(web1.pacha.store)
    assert compare(web1.root / "etc", fresh.root / "etc") == []


def test_what_a_fresh_machine_captured_first_is_not_aimed_at(tmp_path: Path, server: Hub) -> None:
    """It has the host's new key, and somebody watched /etc on it before the rebuild."""
    web1 = dead(tmp_path, server)
    key = server.add("web1", key="new")
    server.registry.change("web1", replaced=True)  # what rekey does
    fresh = client(tmp_path / "fresh", server, key, "web1")
    fresh.write({"/etc/motd": "fresh\n"})
    code, told = as_another(fresh, "watch", "/etc")
    assert code == 0, told

    third = client(tmp_path / "third", server, key, None)
    code, told = as_another(third, "rebuild", "web1", "-n")
    assert "a newer revision is of a machine that was not, or not wholly, rebuilt" in told
    told = third.pacha.run("rebuild", "web1", "-n").out
    assert "another machine was the host until" in told

    code, told = as_another(fresh, "rebuild", "web1", "-y")
    assert code == 0, told
    assert compare(web1.root / "etc", fresh.root / "etc") == []
    code, told = as_another(fresh, "rebuild", "web1", "-y")
    assert (code, "nothing to do" in told) == (0, True), told


def test_killed_before_the_history_is_there(tmp_path: Path, server: Hub) -> None:
    web1 = dead(tmp_path, server)
    key = server.add("web1", key="new")
    fresh = client(tmp_path / "fresh", server, key, None)
    process = fresh.pacha.start("rebuild", "web1", "-y")
    until(lambda: "watch" in fresh.pacha.config.read_text())
    process.kill()
    process.wait()
    assert fresh.pacha.ok("status")["rebuild"] == "web1"
    fresh.pacha.run("capture")
    fresh.pacha.ok("rebuild", "web1", "-y")
    assert compare(web1.root / "etc", fresh.root / "etc") == []


def test_another_copy_without_what_was_aimed_at_serves_too(web1: Machine, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(web1.pacha.store, older)
    web1.write({"/etc/app/x": "newer\n"})
    web1.pacha.ok("capture")
    fresh = Machine(tmp_path / "fresh", None)
    hook(fresh, "post-rebuild", "exit 1")
    assert fresh.rebuild(web1.pacha.store).code == 1
    hook(fresh, "post-rebuild", "exit 0")
    told = json.loads(fresh.pacha.run("rebuild", "web1", "--from", older, "-n", "--json").out)
    assert told["ok"], told


def test_single_paths_leave_what_is_unfinished_so(web1: Machine, tmp_path: Path) -> None:
    fresh = Machine(tmp_path / "fresh", None, {"/etc/motd": "fresh\n"})
    hook(fresh, "pre-rebuild", "exit 1")
    assert fresh.rebuild(web1.pacha.store).code == 1
    assert fresh.rebuild(web1.pacha.store, "--only", "/etc/app/x").code == 0
    assert fresh.pacha.ok("status")["rebuild"] == "web1"
    fresh.write({"/etc/resolv.conf": "x\n"})
    fresh.pacha.ok("capture")
    third = Machine(tmp_path / "third", None)
    done = third.rebuilt(fresh.pacha.store)
    assert any("newer revisions are of a machine that was not" in words for words in done["notes"])
    assert compare(web1.root / "etc", third.root / "etc") == []


def test_a_path_brought_back_on_the_host_itself_is_a_state_of_it(web1: Machine, tmp_path: Path) -> None:
    good = revisions(web1.pacha)[0]["id"]
    web1.write({"/etc/app/x": "broken\n"})
    web1.pacha.ok("capture")
    web1.pacha.ok("rebuild", "web1", "--only", "/etc/app/x", "--to", good, "-y")
    assert web1.read("/etc/app/x") == "x\n"
    assert "nothing to do" in web1.pacha.run("rebuild", "web1", "-y").out
    assert web1.read("/etc/app/x") == "x\n"
    fresh = Machine(tmp_path / "fresh", None)
    fresh.rebuilt(web1.pacha.store)
    assert fresh.read("/etc/app/x") == "x\n"


def test_what_a_state_may_lack_is_said(web1: Machine, tmp_path: Path) -> None:
    fresh = Machine(tmp_path / "fresh", None)
    fresh.rebuild(web1.pacha.store, "--skip", "files")
    fresh.write({"/etc/later": "x\n"})
    fresh.pacha.ok("capture")
    told = fresh.pacha.run("rebuild", "web1", "-n").out
    assert "the host was not wholly rebuilt at" in told
