"""Rebuilding files and accounts on small roots: everything comes back, and nothing else is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import needs
from tests.oracle import compare, save_twin
from tests.plainhg import StoreCopy
from tests.rebuild.machines import Machine
from tests.steps import revisions
from tests.trees import build

pytestmark = [needs.root, needs.tools]

ETC = {
    "/etc/hosts": "127.0.0.1 web1\n",
    "/etc/app/app.conf": "x = 1\n",
    "/etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "/etc/fstab": "/dev/sda1 / ext4\n",
    "/etc/ssh/ssh_host_ed25519_key": "secret\n",
}


@pytest.fixture
def web1(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "web1", "web1", ETC)
    machine.pacha.ok("watch", "/etc")
    return machine


@pytest.fixture
def fresh(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "fresh", None, {"/etc/hosts": "127.0.0.1 fresh\n", "/etc/extra": "extra\n"})


def test_an_awkward_tree_comes_back_exactly(tmp_path: Path, arena: Path) -> None:
    web1, fresh = Machine(arena / "web1", "web1"), Machine(arena / "fresh", None)
    build(web1.root / "etc")
    for path in [p for p in (web1.root / "etc").rglob("*") if p.is_block_device() or p.is_char_device()]:
        path.unlink()
    web1.pacha.ok("watch", "/etc")
    fresh.rebuilt(web1.pacha.store)
    assert compare(web1.root / "etc", fresh.root / "etc") == []
    again = fresh.rebuilt(web1.pacha.store)
    assert (again["revision"], again["steps"]) == (None, [])
    assert fresh.pacha.ok("verify")["ok"]
    assert fresh.pacha.ok("status")["pending"] == []


def test_the_machine_goes_on_with_the_line_and_can_go_back(
    web1: Machine, fresh: Machine, tmp_path: Path
) -> None:
    done = fresh.rebuilt(web1.pacha.store)
    causes = [told["cause"] for told in revisions(fresh.pacha)]
    assert causes == ["rebuild", "before-rebuild", "watch"]
    assert StoreCopy(fresh.pacha.store, tmp_path / "copy").nodes()[0].startswith(done["target"])
    assert 'host = "web1"' in fresh.pacha.config.read_text()
    assert fresh.pacha.ok("capture")["revision"] is None

    assert fresh.pacha.run("rollback", "/etc", "--to", done["before"], "-y").code == 0
    assert fresh.read("/etc/extra") == "extra\n"
    assert fresh.read("/etc/hosts") == "127.0.0.1 fresh\n"
    assert not fresh.has("/etc/app")


def test_a_plan_changes_nothing(web1: Machine, fresh: Machine, tmp_path: Path) -> None:
    save_twin(fresh.root, tmp_path / "twin")
    result = fresh.pacha.run("rebuild", "web1", "--from", web1.pacha.store, "-n")
    assert result.code == 0
    assert "create    /etc/app/app.conf" in result.out
    assert compare(tmp_path / "twin", fresh.root) == []
    assert not fresh.pacha.store.exists()
    assert not (fresh.pacha.state / "rebuild.json").exists()


def test_a_plain_clone_and_an_earlier_state(web1: Machine, fresh: Machine, tmp_path: Path) -> None:
    first = revisions(web1.pacha)[0]["id"]
    web1.write({"/etc/hosts": "changed\n"})
    web1.pacha.ok("capture")
    (tmp_path / "plain").mkdir()
    plain = StoreCopy(web1.pacha.store, tmp_path / "clone")
    plain.hg("clone", "-q", "--noupdate", str(tmp_path / "clone"), str(tmp_path / "plain"))
    fresh.rebuilt(tmp_path / "plain", "--to", first)
    assert fresh.read("/etc/hosts") == "127.0.0.1 web1\n"
    fresh.rebuilt(tmp_path / "plain")
    assert fresh.read("/etc/hosts") == "changed\n"


def test_the_target_is_never_what_a_fresh_machine_had(web1: Machine, fresh: Machine, tmp_path: Path) -> None:
    done = fresh.rebuilt(web1.pacha.store)
    third = Machine(tmp_path / "third", None)
    third.rebuilt(fresh.pacha.store, "--to", done["revision"])
    fourth = Machine(tmp_path / "fourth", None)
    fourth.pacha.run("rebuild", "--from", web1.pacha.store, "-y")
    assert compare(third.root / "etc", fourth.root / "etc") == []


def test_one_path_is_fetched_to_another_machine(web1: Machine, tmp_path: Path) -> None:
    other = Machine(tmp_path / "other", "web2", {"/etc/hosts": "web2\n"})
    other.pacha.ok("watch", "/etc/hosts")
    done = other.rebuilt(web1.pacha.store, "--only", "/etc/app")
    assert other.read("/etc/app/app.conf") == "x = 1\n"
    assert other.read("/etc/hosts") == "web2\n"
    assert [told["host"] for told in revisions(other.pacha)] == ["web2", "web2"]
    assert [w["path"] for w in other.pacha.ok("status")["watches"]] == ["/etc/hosts", "/etc/app"]
    assert [step["path"] for step in done["steps"]] == ["/etc/app", "/etc/app/app.conf"]
    assert other.pacha.ok("capture")["revision"] is None


def test_a_replacement_is_told_what_makes_it_that_machine(web1: Machine, fresh: Machine) -> None:
    told = fresh.pacha.ok("rebuild", "--from", web1.pacha.store, "-n")["notes"]
    assert "machine-id restored: /etc/machine-id" in told
    assert "ssh host keys restored: /etc/ssh/ssh_host_ed25519_key" in told


def test_a_copy_leaves_the_machine_itself(web1: Machine, tmp_path: Path) -> None:
    own = {"/etc/machine-id": "f" * 32 + "\n", "/etc/fstab": "/dev/vda1 / ext4\n"}
    copy = Machine(tmp_path / "copy", None, own)
    done = copy.rebuilt(web1.pacha.store, "--as-new", "web2")
    assert copy.read("/etc/hosts") == "127.0.0.1 web1\n"
    assert copy.read("/etc/machine-id") == own["/etc/machine-id"]
    assert copy.read("/etc/fstab") == own["/etc/fstab"]
    assert not copy.has("/etc/ssh/ssh_host_ed25519_key")
    assert "machine-id left alone: /etc/machine-id" in done["notes"]
    assert {told["host"] for told in revisions(copy.pacha)} == {"web2"}
    assert copy.pacha.ok("status")["host"] == "web2"
    assert copy.rebuilt(web1.pacha.store, "--as-new", "web2")["steps"] == []


def test_a_replacement_is_the_machine_itself(web1: Machine, fresh: Machine) -> None:
    fresh.rebuilt(web1.pacha.store)
    assert fresh.read("/etc/machine-id") == ETC["/etc/machine-id"]
    assert fresh.read("/etc/ssh/ssh_host_ed25519_key") == "secret\n"


def test_another_host_than_was_meant(web1: Machine, fresh: Machine) -> None:
    result = fresh.pacha.run("rebuild", "db1", "--from", web1.pacha.store, "-y", "--json")
    assert (result.code, result.json["error"]["kind"]) == (2, "not-found")
    assert fresh.read("/etc/hosts") == "127.0.0.1 fresh\n"


def test_below_another_root_pacha_is_there_too(web1: Machine, tmp_path: Path) -> None:
    root = tmp_path / "mounted"
    (root / "etc").mkdir(parents=True)
    near = Machine(tmp_path / "near", "near")
    environment = near.pacha.environment()
    del environment["PACHA_STATE"]
    import subprocess

    argv = near.pacha.argv("rebuild", "web1", "--from", web1.pacha.store, "--root", root, "-y", "--state")
    done = subprocess.run([*argv, root / "var/lib/pacha"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done
    assert compare(web1.root / "etc", root / "etc") == []
    assert (root / "var/lib/pacha/store/.hg").is_dir()
    assert not near.pacha.store.exists()


# -- accounts ----------------------------------------------------------------------------------------


def test_accounts_keep_their_numbers_and_what_they_own(tmp_path: Path) -> None:
    web1, fresh = Machine(tmp_path / "web1", "web1"), Machine(tmp_path / "fresh", None)
    web1.accounts(users={"shop": 2001, "mail": 2002, "ops": 2003})
    web1.write({"/etc/shop": "x\n"})
    os.chown(web1.root / "etc/shop", 2001, 2003)
    web1.pacha.ok("watch", "/etc")

    fresh.accounts(users={"shop": 2002, "mail": 2001})  # the other way round
    fresh.write({"/var/mail/box": "m\n", "/var/shop/data": "s\n", "/var/other": "o\n"})
    os.chown(fresh.root / "var/mail/box", 2001, 2001)
    os.chown(fresh.root / "var/shop/data", 2002, 0)
    (fresh.root / "var/shop/data").chmod(0o4755)
    os.setxattr(fresh.root / "var/shop/data", "user.kept", b"1")

    plan = fresh.pacha.ok("rebuild", "--from", web1.pacha.store, "-n")
    assert {"kind": "user", "name": "shop", "number": 2001, "old": 2002} in plan["accounts"]
    assert {"kind": "group", "name": "ops", "number": 2003, "old": None} in plan["accounts"]
    fresh.rebuilt(web1.pacha.store)
    assert compare(web1.root / "etc", fresh.root / "etc") == []
    box, data = (os.stat(fresh.root / path) for path in ("var/mail/box", "var/shop/data"))
    assert (box.st_uid, box.st_gid) == (2002, 2002)
    assert (data.st_uid, data.st_gid, data.st_mode & 0o7777) == (2001, 0, 0o4755)
    assert os.getxattr(fresh.root / "var/shop/data", "user.kept") == b"1"
    assert os.stat(fresh.root / "var/other").st_uid == 0


def test_a_clash_is_told_before_anything_is_written(tmp_path: Path) -> None:
    web1, fresh = Machine(tmp_path / "web1", "web1"), Machine(tmp_path / "fresh", None)
    web1.accounts(users={"deploy": 1000, "shop": 1001})
    web1.pacha.ok("watch", "/etc")
    fresh.accounts(users={"admin": 1000, "guest": 1001})
    save_twin(fresh.root, tmp_path / "twin")
    result = fresh.rebuild(web1.pacha.store)
    assert (result.code, result.json["error"]["kind"]) == (1, "refused")
    told = result.json["error"]["message"]
    assert "user number 1000 is deploy's in the history, and admin's here" in told
    assert "user number 1001 is shop's in the history, and guest's here" in told
    assert compare(tmp_path / "twin", fresh.root) == []
    assert not fresh.pacha.store.exists()

    fresh.rebuilt(web1.pacha.store, "--skip", "users")
    assert "admin" in fresh.read("/etc/passwd")


def test_a_machine_without_accounts_gets_numbers(tmp_path: Path) -> None:
    web1, fresh = Machine(tmp_path / "web1", "web1"), Machine(tmp_path / "fresh", None)
    web1.accounts(users={"shop": 2001})
    web1.write({"/srv/shop": "x\n"})
    os.chown(web1.root / "srv/shop", 2001, 2001)
    web1.pacha.ok("watch", "/srv")
    done = fresh.rebuilt(web1.pacha.store)
    assert done["accounts"] == []
    assert os.stat(fresh.root / "srv/shop").st_uid == 2001


# -- hooks, and going on -----------------------------------------------------------------------------


def hook(machine: Machine, moment: str, body: str) -> None:
    """A hook of the machine that is rebuilt."""
    path = machine.pacha.config.parent / "hooks" / moment / "10-hook"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    for one in (path, path.parent, path.parent.parent):
        one.chmod(0o755)


def test_a_hook_before_stops_it_and_the_same_again_goes_on(
    web1: Machine, fresh: Machine, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    hook(fresh, "pre-rebuild", f"test -e {gate}")
    result = fresh.rebuild(web1.pacha.store)
    assert (result.code, result.json["error"]["kind"]) == (1, "hook")
    assert not fresh.has("/etc/app")
    assert fresh.read("/etc/extra") == "extra\n"
    gate.touch()
    fresh.rebuilt(web1.pacha.store)
    assert compare(web1.root / "etc", fresh.root / "etc") == []


def test_a_hook_afterwards_is_run_until_it_succeeds(web1: Machine, fresh: Machine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    hook(fresh, "post-rebuild", f"echo ran >> {tmp_path}/ran; test -e {gate}")
    hook(fresh, "pre-rebuild", f"echo before >> {tmp_path}/ran")
    assert fresh.rebuild(web1.pacha.store).code == 1
    assert fresh.has("/etc/app/app.conf")
    assert fresh.pacha.ok("status")["rebuild"] == "web1"
    gate.touch()
    done = fresh.rebuilt(web1.pacha.store)
    assert [told["name"] for told in done["hooks"]] == ["post-rebuild/10-hook"]
    assert (tmp_path / "ran").read_text() == "before\nran\nran\n"
    assert fresh.pacha.ok("status")["rebuild"] is None
    assert fresh.rebuilt(web1.pacha.store)["hooks"] == []


def test_hooks_can_be_left_out(web1: Machine, fresh: Machine, tmp_path: Path) -> None:
    hook(fresh, "pre-rebuild", "exit 1")
    fresh.rebuilt(web1.pacha.store, "--skip", "hooks")
    assert compare(web1.root / "etc", fresh.root / "etc") == []


def test_files_and_users_can_be_left_out(web1: Machine, fresh: Machine, tmp_path: Path) -> None:
    before = fresh.read("/etc/extra")
    done = fresh.rebuilt(web1.pacha.store, "--skip", "files")
    assert (done["steps"], fresh.has("/etc/app"), fresh.read("/etc/extra")) == ([], False, before)

    host = Machine(tmp_path / "host", "host", {"/etc/app.conf": "x\n"})
    host.accounts(users={"app": 700})
    host.pacha.ok("watch", "/etc")
    other = Machine(tmp_path / "other", None)
    other.accounts(users={"there": 1000})
    other.rebuilt(host.pacha.store, "--skip", "users")
    assert "app" not in other.read("/etc/passwd"), "account files are the users' part"
    assert other.read("/etc/app.conf") == "x\n"


DPKG = """Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.21

"""


def test_packages_can_be_left_out_where_they_are_anothers(tmp_path: Path) -> None:
    host = Machine(tmp_path / "host", "host", {"/etc/app.conf": "x\n", "/var/lib/dpkg/status": DPKG})
    host.pacha.ok("watch", "/etc")
    other = Machine(tmp_path / "other", None, {"/etc/mine": "y\n"})
    refused = other.rebuild(host.pacha.store)
    assert (refused.code, refused.json["error"]["kind"]) == (1, "refused")
    assert refused.json["error"]["hint"] == "--skip packages"
    assert not other.has("/etc/app.conf"), "it is said before anything is written"
    other.rebuilt(host.pacha.store, "--skip", "packages")
    assert compare(host.root / "etc", other.root / "etc") == []


def test_phases_are_told(web1: Machine, fresh: Machine) -> None:
    import json

    result = fresh.rebuild(web1.pacha.store)
    told = [json.loads(line)["phase"] for line in result.err.splitlines()]
    assert told == ["hooks before", "repositories", "packages", "users", "files", "units", "hooks after"]
