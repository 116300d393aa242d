"""What a rebuild owes after it was stopped, or where nothing differs: name, watches, history, owners."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests import needs
from tests.rebuild.machines import Machine
from tests.rebuild.test_files import hook
from tests.steps import revisions

pytestmark = [needs.root, needs.tools]


def interrupted(web1: Machine, fresh: Machine, *more: str) -> Path:
    """Stopped by a hook when the files are there; what has to be there that it goes on."""
    gate = fresh.place / "gate"
    hook(fresh, "post-rebuild", f"test -e {gate}")
    assert fresh.rebuild(web1.pacha.store, *more).code == 1
    assert fresh.read("/etc/app/x") == "x\n"
    return gate


def test_one_that_goes_on_after_its_files_is_finished_wholly(web1: Machine, tmp_path: Path) -> None:
    fresh = Machine(tmp_path / "fresh", None, {"/etc/extra": "mine\n"})
    interrupted(web1, fresh).touch()
    done = fresh.rebuilt(web1.pacha.store)
    causes = [told["cause"] for told in revisions(fresh.pacha)]
    assert causes == ["rebuild", "before-rebuild", "watch"]
    assert done["revision"] and done["before"]
    status = fresh.pacha.ok("status")
    assert (status["host"], status["pending"], status["watches"][0]["path"]) == ("web1", [], "/etc")


def test_a_copy_that_goes_on_has_its_own_name(web1: Machine, tmp_path: Path) -> None:
    fresh = Machine(tmp_path / "fresh", None)
    interrupted(web1, fresh, "--as-new", "web2").touch()
    fresh.rebuilt(web1.pacha.store, "--as-new", "web2")
    assert 'host = "web2"' in fresh.pacha.config.read_text()
    assert fresh.pacha.ok("status")["host"] == "web2"


def test_another_name_is_part_of_the_plan(web1: Machine, tmp_path: Path) -> None:
    """Where all is in place, too; and where nothing is to be done the configuration stays as it is."""
    copy = Machine(tmp_path / "copy", None)
    copy.rebuilt(web1.pacha.store, "--as-new", "web2")
    before = copy.pacha.config.read_text()
    told = "this machine is called web3 from now on"
    assert told in copy.rebuilt(web1.pacha.store, "--as-new", "web3", "-n")["notes"]
    plan = copy.pacha.run("rebuild", "--from", web1.pacha.store, "--as-new", "web3", "-n")
    assert f"host: {told}" in plan.out and "nothing to do" not in plan.out
    assert copy.pacha.config.read_text() == before
    assert told in copy.rebuilt(web1.pacha.store, "--as-new", "web3")["notes"]
    assert copy.pacha.config.read_text() == before.replace("web2", "web3")
    again = copy.rebuilt(web1.pacha.store, "--as-new", "web3")
    assert (again["revision"], again["notes"]) == (None, [])


def test_single_paths_give_no_other_name_to_a_host(web1: Machine, tmp_path: Path) -> None:
    other = Machine(tmp_path / "other", "other", {"/etc/hosts": "web1\n", "/srv/x": "x\n"})
    other.pacha.ok("watch", "/srv")
    before = other.pacha.config.read_text()
    for words in (("-n",), ()):
        result = other.rebuild(web1.pacha.store, "--only", "/etc/hosts", "--as-new", "typo", *words)
        assert (result.code, result.json["error"]["kind"]) == (2, "usage"), result
    assert other.pacha.config.read_text() == before
    shutil.copystat(web1.root / "etc/hosts", other.root / "etc/hosts")
    assert other.rebuilt(web1.pacha.store, "--only", "/etc/hosts")["revision"] is None
    assert other.pacha.config.read_text() == before


def test_where_nothing_differs_the_history_is_taken_all_the_same(web1: Machine, tmp_path: Path) -> None:
    """The state folder was lost, and nothing else."""
    again = Machine(tmp_path / "again", None)
    again.root.rmdir()
    web1.root.rename(again.root)
    done = again.rebuilt(web1.pacha.store)
    assert done["steps"] == []
    status = again.pacha.ok("status")
    assert (status["host"], status["pending"]) == ("web1", [])
    assert [told["cause"] for told in revisions(again.pacha)] == ["rebuild", "before-rebuild", "watch"]
    assert again.rebuilt(web1.pacha.store)["revision"] is None


def test_a_host_without_a_name_of_its_own_keeps_the_one_it_had(tmp_path: Path) -> None:
    """Neither its configuration nor /etc/hostname says it."""
    old = Machine(tmp_path / "old", "oldname", {"/srv/shop/x": "x\n"})
    old.pacha.ok("watch", "/srv/shop")
    fresh = Machine(tmp_path / "fresh", None)
    fresh.rebuilt(old.pacha.store)
    assert fresh.pacha.ok("status")["host"] == "oldname" != socket.gethostname()
    (fresh.root / "srv/shop/x").write_text("y\n")
    fresh.pacha.ok("capture")
    assert fresh.rebuilt(fresh.pacha.store, "-n")["revision"] is None


def test_owners_that_are_owed_are_given_whatever_is_left_out_next(tmp_path: Path) -> None:
    host = Machine(tmp_path / "host", "host", {"/etc/app.conf": "x\n"})
    host.accounts(users={"app": 700})
    host.pacha.ok("watch", "/etc")
    fresh = Machine(tmp_path / "fresh", None)
    fresh.accounts(users={"app": 701})
    many = 8_000
    fresh.write({f"/var/d{number % 40}/{number}": "" for number in range(many)})
    files = [path for path in (fresh.root / "var").rglob("*") if path.is_file()]
    for path in files:
        os.chown(path, 701, 701)
    process = fresh.pacha.start("rebuild", "--from", host.pacha.store, "-y", "--json")
    written = fresh.pacha.state / "rebuild.json"
    deadline = time.monotonic() + 60
    while not any(path.stat().st_uid == 700 for path in files[:: many // 20]):
        assert process.poll() is None and time.monotonic() < deadline
    os.killpg(process.pid, signal.SIGKILL)
    fresh.pacha.finish(process)
    assert "owners" in json.loads(written.read_text())
    assert {path.stat().st_uid for path in files} == {700, 701}
    fresh.rebuilt(host.pacha.store, "--skip", "packages")
    assert {path.stat().st_uid for path in files} == {700}


def test_what_cannot_come_back_makes_no_second_rebuild(web1: Machine, tmp_path: Path) -> None:
    (web1.root / "etc/huge").write_bytes(b"\0" * 20_000_000)
    web1.pacha.ok("capture")
    fresh = Machine(tmp_path / "fresh", None)
    hook(fresh, "pre-rebuild", f"echo ran >> {tmp_path}/ran")
    for _ in range(2):
        result = fresh.rebuild(web1.pacha.store)
        assert (result.code, [left["path"] for left in result.json["left"]]) == (3, ["/etc/huge"])
    assert (tmp_path / "ran").read_text() == "ran\n"
    shown = fresh.pacha.run("rebuild", "--from", web1.pacha.store, "-n")
    assert shown.code == 3
    assert "all but 1 path is as it was" in shown.out
    assert "/etc/huge" in shown.err


@pytest.mark.parametrize(
    "words", [("--as-new", ""), ("--threshold", "nan"), ("--only", "/etc/app", "/etc/typo")]
)
def test_slips_are_told(web1: Machine, tmp_path: Path, words: tuple[str, ...]) -> None:
    fresh = Machine(tmp_path / "fresh", None)
    result = fresh.rebuild(web1.pacha.store, *words)
    assert result.code == 2, result
    assert not fresh.has("/etc")


def test_no_check_hook_judges_what_is_not_there_yet(web1: Machine, tmp_path: Path) -> None:
    fresh = Machine(tmp_path / "fresh", None)
    hook(fresh, "check", "exit 1")
    fresh.rebuilt(web1.pacha.store)


def test_events_are_objects_all_of_them(web1: Machine, tmp_path: Path) -> None:
    fresh = Machine(tmp_path / "fresh", None)
    hook(fresh, "pre-rebuild", "echo hello")
    told = [json.loads(line) for line in fresh.rebuild(web1.pacha.store).err.splitlines()]
    assert {"event": "hook", "hook": "10-hook", "line": "hello"} in told
    assert next(one["phase"] for one in told if one["event"] == "phase") == "hooks before"


def test_a_capture_in_between_is_of_that_host_and_removes_nothing(web1: Machine, tmp_path: Path) -> None:
    fresh = Machine(tmp_path / "fresh", None)
    gate = interrupted(web1, fresh)
    (fresh.root / "etc/app/x").write_text("mended\n")
    taken = fresh.pacha.ok("capture")
    for path, content in (("/etc/app/x", "mended\n"), ("/etc/hosts", "web1\n")):
        assert fresh.pacha.run("cat", path, "--at", taken["revision"]).out == content
    gate.touch()
    again = fresh.rebuild(web1.pacha.store)
    assert again.code == 0, again
    assert fresh.read("/etc/app/x") == "x\n"
    told = revisions(fresh.pacha)
    assert {one["host"] for one in told} == {"web1"}
    assert fresh.pacha.run("cat", "/etc/app/x", "--at", taken["revision"]).out == "mended\n"


def test_what_somebody_mends_meanwhile_is_in_the_plan_and_kept(web1: Machine, tmp_path: Path) -> None:
    fresh = Machine(tmp_path / "fresh", None)
    gate = interrupted(web1, fresh)
    (fresh.root / "etc/app/x").write_text("mended\n")
    shown = fresh.pacha.run("rebuild", "--from", web1.pacha.store, "-n")
    assert (shown.code, shown.err) == (0, "")
    assert "what was interrupted goes on" in shown.out and "/etc/app/x" in shown.out
    gate.touch()
    fresh.rebuilt(web1.pacha.store)
    assert fresh.read("/etc/app/x") == "x\n"
    contents = {fresh.pacha.run("cat", "/etc/app/x", "--at", one["id"]).out for one in revisions(fresh.pacha)}
    assert "mended\n" in contents


def test_a_configuration_that_cannot_be_written_is_told_first(web1: Machine, tmp_path: Path) -> None:
    fresh = Machine(tmp_path / "fresh", None)
    subprocess.run(["chattr", "+i", fresh.pacha.config], check=True)
    try:
        result = fresh.rebuild(web1.pacha.store)
        assert (result.code, result.json["error"]["kind"]) == (1, "read-only")
        assert not fresh.has("/etc")
    finally:
        subprocess.run(["chattr", "-i", fresh.pacha.config], check=True)
    fresh.rebuilt(web1.pacha.store)


@pytest.mark.parametrize(
    "words",
    [
        ("--base", "/nowhere"),
        ("--threshold", "99"),
        ("--rehearse", "--as-new", "x"),
        ("--rehearse", "--only", "/etc"),
    ],
)
def test_options_that_do_not_go_together(web1: Machine, tmp_path: Path, words: tuple[str, ...]) -> None:
    fresh = Machine(tmp_path / "fresh", None)
    assert fresh.rebuild(web1.pacha.store, *words).code == 2
    assert not fresh.has("/etc")
