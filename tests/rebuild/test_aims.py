"""What a rebuild aims at: the last state of the host, with what a machine that is not wholly rebuilt owes it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests import needs
from tests.agents import until
from tests.oracle import compare
from tests.plainhg import StoreCopy, mercurial
from tests.rebuild.machines import Machine
from tests.rebuild.test_files import hook
from tests.rebuild.test_from_server import FILES, client, dead, server
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


def test_what_is_done_while_one_is_unfinished_stays_and_the_rest_is_the_hosts(
    web1: Machine, tmp_path: Path
) -> None:
    fresh = Machine(tmp_path / "fresh", None, {"/etc/motd": "fresh\n", "/etc/own": "fresh\n"})
    hook(fresh, "pre-rebuild", "exit 1")
    assert fresh.rebuild(web1.pacha.store).code == 1
    fresh.write({"/etc/resolv.conf": "x\n", "/etc/own": "mine\n"})
    fresh.pacha.ok("capture")
    told = fresh.pacha.run("rebuild", "web1", "-n", "--skip", "hooks").out
    assert "not wholly rebuilt since" in told
    third = Machine(tmp_path / "third", None)
    third.rebuilt(fresh.pacha.store)
    expected = tmp_path / "expected"
    shutil.copytree(web1.root, expected, symlinks=True)
    for path, text in {"resolv.conf": "x\n", "own": "mine\n"}.items():
        (expected / "etc" / path).write_text(text)
        shutil.copystat(fresh.root / "etc" / path, expected / "etc" / path)
    shutil.copystat(fresh.root / "etc", expected / "etc")
    assert [line for line in compare(expected / "etc", third.root / "etc") if "etc/" in line] == []
    fresh.rebuilt(web1.pacha.store, "--skip", "hooks")  # the very state of then
    assert compare(web1.root / "etc", fresh.root / "etc") == []


def test_what_came_short_comes_with_the_next_and_later_work_stays(web1: Machine, tmp_path: Path) -> None:
    fresh = Machine(tmp_path / "fresh", None)
    assert fresh.rebuild(web1.pacha.store, "--skip", "files").code == 0
    fresh.write({"/etc/later": "x\n"})
    fresh.pacha.ok("capture")
    third = Machine(tmp_path / "third", None)
    third.rebuilt(fresh.pacha.store)
    assert (third.read("/etc/app/x"), third.read("/etc/later")) == ("x\n", "x\n")
    fourth = Machine(tmp_path / "fourth", None)
    fourth.rebuilt(third.pacha.store)
    assert compare(third.root / "etc", fourth.root / "etc") == []


def test_what_is_owed_by_several_in_a_row(web1: Machine, tmp_path: Path) -> None:
    """Each was stopped before its files, each then went on with something of its own."""
    source = web1
    for number in range(4):
        machine = Machine(tmp_path / str(number), None)
        assert machine.rebuild(source.pacha.store, "--skip", "files").code == 0
        machine.write({f"/etc/own{number}": "x\n"})
        machine.pacha.ok("capture")
        source = machine
    last = Machine(tmp_path / "last", None)
    last.rebuilt(source.pacha.store)
    names = {path.name for path in (last.root / "etc").iterdir()}
    assert names >= {"hosts", "app", "own0", "own1", "own2", "own3"}, names


def test_a_name_that_somebody_gave_to_something_else(web1: Machine, tmp_path: Path) -> None:
    """What is owed finds a file where its folder was, and a folder gone that was there before."""
    web1.write({"/etc/d/a": "a\n", "/etc/e/deep/b": "b\n"})
    web1.pacha.ok("capture")
    fresh = Machine(tmp_path / "fresh", None, {"/etc/e/other": "fresh\n"})
    assert fresh.rebuild(web1.pacha.store, "--skip", "files").code == 0
    fresh.write({"/etc/d": "a file\n"})
    shutil.rmtree(fresh.root / "etc/e")
    fresh.pacha.ok("capture")
    third = Machine(tmp_path / "third", None)
    third.rebuilt(fresh.pacha.store)
    assert third.read("/etc/d") == "a file\n"
    assert not third.has("/etc/e")
    assert third.read("/etc/app/x") == "x\n"


def test_killed_between_the_history_and_the_machines_own_state(web1: Machine, tmp_path: Path) -> None:
    """Then the next capture, of whatever, is of the whole machine first."""
    fresh = Machine(tmp_path / "fresh", None, {"/etc/motd": "fresh\n"})
    hook(fresh, "pre-rebuild", "exit 1")
    assert fresh.rebuild(web1.pacha.store).code == 1
    written = fresh.pacha.state / "rebuild.json"
    told = json.loads(written.read_text())
    del told["before"]
    written.write_text(json.dumps(told))
    tip = revisions(web1.pacha)[0]["id"]
    strip = ("--config", "extensions.strip=", "strip", "--no-backup", "-r", f"children({tip})")
    code, _, errors = mercurial().run("-R", fresh.pacha.store, *strip)
    assert code == 0, errors
    fresh.write({"/etc/motd": "mine\n"})
    fresh.pacha.ok("capture", "/etc/motd")
    fresh.write({"/etc/motd": "mine again\n"})
    fresh.pacha.ok("capture", "/etc/motd")
    third = Machine(tmp_path / "third", None)
    third.rebuilt(fresh.pacha.store)
    assert (third.read("/etc/motd"), third.read("/etc/app/x")) == ("mine again\n", "x\n")


def test_what_packages_brought_is_no_work_of_anybodys(web1: Machine, tmp_path: Path) -> None:
    """Killed while they were installed: the next capture has what they wrote as the machine's own."""
    fresh = Machine(tmp_path / "fresh", None)
    hook(fresh, "pre-rebuild", "exit 1")
    assert fresh.rebuild(web1.pacha.store).code == 1
    written = fresh.pacha.state / "rebuild.json"
    told = json.loads(written.read_text())
    written.write_text(json.dumps({**told, "installing": told["owed"].replace("since 1", "since 2")}))
    fresh.write({"/etc/app/x": "the package's\n", "/etc/app/more": "the package's\n"})
    fresh.pacha.ok("capture")
    fresh.write({"/etc/app/own": "somebody's\n"})
    fresh.pacha.ok("capture")
    third = Machine(tmp_path / "third", None)
    third.rebuilt(fresh.pacha.store)
    assert (third.read("/etc/app/x"), third.read("/etc/app/own")) == ("x\n", "somebody's\n")
    assert not third.has("/etc/app/more")


def test_accounts_are_owed_one_by_one(tmp_path: Path) -> None:
    web1 = Machine(tmp_path / "web1", "web1", {"/etc/app/x": "x\n"})
    web1.accounts(users={"alice": 1500, "bob": 1501})
    web1.pacha.ok("watch", "/etc")
    fresh = Machine(tmp_path / "fresh", None)
    fresh.accounts(users={"fresh": 1000})
    assert fresh.rebuild(web1.pacha.store, "--skip", "files", "--skip", "users").code == 0
    fresh.accounts(users={"fresh": 1000, "carol": 1600})
    fresh.pacha.ok("capture")
    third = Machine(tmp_path / "third", None)
    third.accounts(users={})
    third.rebuilt(fresh.pacha.store)
    names = [line.partition(":")[0] for line in third.read("/etc/passwd").splitlines()]
    assert names == ["root", "alice", "bob", "carol"]
    again = third.rebuilt(third.pacha.store)
    assert (again["revision"], again["steps"]) == (None, [])


def test_ignored_stays_ignored_whatever_a_machine_without_the_rule_captured(tmp_path: Path) -> None:
    web1 = Machine(tmp_path / "web1", "web1", {"/etc/app/x": "x\n", "/etc/cache/p": "cached\n"})
    web1.pacha.config.write_text(web1.pacha.config.read_text() + 'ignore = ["/etc/cache/**"]\n')
    web1.pacha.ok("watch", "/etc")
    fresh = Machine(tmp_path / "fresh", None, {"/opt/tool/conf": "x\n"})
    assert fresh.rebuild(web1.pacha.store, "--skip", "files").code == 0
    fresh.pacha.ok("watch", "/opt/tool")
    third = Machine(tmp_path / "third", None, {"/etc/cache/p": "its own\n"})
    third.rebuilt(fresh.pacha.store)
    assert third.read("/etc/cache/p") == "its own\n"
    assert (third.read("/opt/tool/conf"), third.read("/etc/app/x")) == ("x\n", "x\n")


def test_what_can_never_come_makes_no_revision_each_time(web1: Machine, tmp_path: Path) -> None:
    fresh = Machine(tmp_path / "fresh", None, {"/etc/hosts": "held\n"})
    subprocess.run(["chattr", "+i", fresh.root / "etc/hosts"], check=True)
    try:
        assert fresh.rebuild(web1.pacha.store).code == 3
        before = revisions(fresh.pacha)
        for _ in range(2):
            result = fresh.pacha.run("rebuild", "web1", "-y", "--json")
            assert (result.code, len(result.json["left"])) == (3, 1), result
        assert revisions(fresh.pacha) == before
        aim = revisions(web1.pacha)[0]["id"]
        assert f"what it lacks comes from {aim}" in fresh.pacha.run("rebuild", "web1", "-n").out
    finally:
        subprocess.run(["chattr", "-i", fresh.root / "etc/hosts"], check=True)
    fresh.pacha.ok("rebuild", "web1", "-y")
    assert "nothing to do" in fresh.pacha.run("rebuild", "web1", "-y").out
    assert compare(web1.root / "etc", fresh.root / "etc") == []


def test_who_began_as_another_host_records_nothing_on_its_line(web1: Machine, tmp_path: Path) -> None:
    """It waited for the lock that the rebuild held."""
    fresh = Machine(tmp_path / "fresh", "spare", {"/etc/motd": "fresh\n"})
    fresh.pacha.ok("watch", "/etc")
    hook(fresh, "pre-rebuild", f"touch {tmp_path}/begun; sleep 3")
    process = fresh.pacha.start("rebuild", "--from", web1.pacha.store, "-y")
    until((tmp_path / "begun").exists)
    fresh.write({"/etc/motd": "changed\n"})
    config = fresh.pacha.config
    now = config.read_text()
    config.write_text(now.replace("web1", "spare"))
    waiting = fresh.pacha.start("capture", "--json")
    time.sleep(1.5)  # it has read that
    config.write_text(now)
    assert fresh.pacha.finish(process).code == 0
    assert fresh.pacha.finish(waiting).code in (1, 5)
    assert {one["host"] for one in revisions(fresh.pacha)} == {"web1"}


def test_what_is_owed_and_was_done_by_hand_is_settled(web1: Machine, tmp_path: Path) -> None:
    fresh = Machine(tmp_path / "fresh", None)
    assert fresh.rebuild(web1.pacha.store, "--skip", "files").code == 0
    shutil.copytree(web1.root / "etc", fresh.root / "etc", dirs_exist_ok=True)
    assert fresh.pacha.run("rebuild", "web1", "-y").code == 0
    assert revisions(fresh.pacha)[0]["cause"] == "rebuild"
    assert "nothing to do" in fresh.pacha.run("rebuild", "web1", "-y").out


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
    third = Machine(tmp_path / "third", None)
    third.rebuilt(fresh.pacha.store)
    assert compare(web1.root / "etc", third.root / "etc") == []
    hook(fresh, "post-rebuild", "exit 0")
    fresh.rebuilt(web1.pacha.store)
    assert compare(web1.root / "etc", fresh.root / "etc") == []


@pytest.mark.parametrize("more", [(), ("--skip", "files")])
def test_a_machine_is_known_by_the_lines_id_whatever_it_has(
    tmp_path: Path, server: Hub, more: tuple[str, ...]
) -> None:
    """While it is rebuilt, when it has the old id back, and where it has not: no server takes it for a copy."""
    web1 = dead(tmp_path, server)
    key = server.add("web1", key="new")
    server.registry.change("web1", replaced=True)  # what rekey does
    fresh = client(tmp_path / "fresh", server, key, None)
    hook(fresh, "post-rebuild", "exit 1")
    code, told = as_another(fresh, "rebuild", "web1", "-y", *more)
    assert code == 1 and "hook" in told, told
    fresh.write({"/etc/resolv.conf": "x\n"})
    code, told = as_another(fresh, "capture")
    assert code == 0, told
    hook(fresh, "post-rebuild", "exit 0")
    for words in (("rebuild", "web1", "-y", *more), ("rebuild", "web1", "-y"), ("capture",), ("doctor",)):
        code, told = as_another(fresh, *words)
        assert code == 0 and "another machine" not in told, told
    restored = tmp_path / "restored"
    restored.write_text(FILES["/etc/machine-id"])
    fresh.write({"/etc/resolv.conf": "y\n"})
    done = fresh.pacha.run("capture", before=(*ELSEWHERE, str(restored)))
    assert done.code == 0, done
    there = StoreCopy(server.store("web1"), tmp_path / "there").nodes()
    assert there == StoreCopy(fresh.pacha.store, tmp_path / "here").nodes()
    assert fresh.read("/etc/app/app.conf") == web1.read("/etc/app/app.conf")
    copy = tmp_path / "copy"
    copy.write_text("e" * 32 + "\n")
    fresh.write({"/etc/resolv.conf": "z\n"})
    done = fresh.pacha.run("capture", before=(*ELSEWHERE, str(copy)))
    assert done.code == 3 and "another machine" in done.err, "of a copied disk it does not hold"


def test_a_copy_on_a_machine_with_another_hosts_history_begins_anew(web1: Machine, tmp_path: Path) -> None:
    other = Machine(tmp_path / "other", "other", {"/etc/hosts": "other\n"})
    other.pacha.ok("watch", "/etc")
    had = revisions(other.pacha)[0]["id"]
    told = other.pacha.run("rebuild", "--from", web1.pacha.store, "--as-new", "web2", "-y")
    assert told.code == 0, told
    assert "own history is kept in" in told.err
    assert {one["host"] for one in revisions(other.pacha)} == {"web2"}
    (kept,) = (other.pacha.state / "archive").iterdir()
    assert StoreCopy(kept, tmp_path / "copy").nodes()[-1].startswith(had)
    third = Machine(tmp_path / "third", None)
    result = third.pacha.run("rebuild", "web2", "--from", other.pacha.store, "-y")
    assert result.code == 0, result


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
    assert "a newer revision is of this machine, not of the host" in told
    told = third.pacha.run("rebuild", "web1", "-n").out
    assert "another machine was the host; the one since then was never rebuilt" in told

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
    assert any("not wholly rebuilt since" in words for words in done["notes"])
    assert third.read("/etc/resolv.conf") == "x\n"
    (third.root / "etc/resolv.conf").unlink()
    shutil.copystat(web1.root / "etc", third.root / "etc")
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
