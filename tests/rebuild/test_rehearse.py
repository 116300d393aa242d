"""Rehearsals: what would come back, told without touching anything."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests import needs
from tests.command import Pacha
from tests.faults.kill import GROUP, kill
from tests.faults.shares import DAY
from tests.oracle import compare, save_twin
from tests.rebuild import debian
from tests.rebuild.hooked import dpkg, small_system, with_hooks
from tests.rebuild.machines import Machine
from tests.rebuild.test_debian import captured

pytestmark = [needs.root, needs.tools]


def test_what_is_left_out_is_no_part_of_the_score(tmp_path: Path, pacha: Pacha) -> None:
    files = {"/etc/app.conf": "x\n", "/var/lib/dpkg/status": dpkg("app")}
    host, base = Machine(tmp_path / "web1", "web1", files), small_system(tmp_path / "base")
    host.pacha.ok("watch", "/etc")
    (base / "var/lib/dpkg").mkdir(parents=True)
    (base / "var/lib/dpkg/status").write_text(dpkg())
    done = rehearse(pacha, host, base, "--skip", "files")
    told = json.loads(done.stdout)
    assert (done.returncode, told["score"], told["identical"], told["total"]) == (4, 0.0, 0, 1), done
    done = rehearse(pacha, host, base, "--skip", "packages")
    told = json.loads(done.stdout)
    assert (done.returncode, told["identical"], told["total"]) == (0, 2, 2), done


NO_REHEARSAL = {
    "nothing to score": ("--skip", "files", "--skip", "packages"),
    "no packages to score": ("--skip", "files"),
    "a plan alone": ("-n",),
}


@pytest.mark.parametrize("words", NO_REHEARSAL.values(), ids=NO_REHEARSAL)
def test_what_cannot_be_rehearsed_is_refused_at_once(
    web1: Machine, pacha: Pacha, tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = rehearse(pacha, web1, tmp_path, *words)
    assert (done.returncode, json.loads(done.stdout)["error"]["kind"]) == (2, "usage"), done
    assert not (pacha.state / "rehearsal").exists()


def test_inside_the_root_is_the_root(tmp_path: Path, pacha: Pacha) -> None:
    """To a hook that runs there, in a rehearsal and with --root."""
    body = 'test "$PACHA_ROOT" = / && test -e "$PACHA_ROOT/etc/hosts"'
    web1 = with_hooks(tmp_path / "web1", {"post-rebuild/10-look": body, "check/10-look": body})
    done = rehearse(pacha, web1, small_system(tmp_path / "base"))
    assert (done.returncode, json.loads(done.stdout)["short"]) == (0, []), done
    root = small_system(tmp_path / "root")
    done = pacha.ok("rebuild", "web1", "--from", web1.pacha.store, "--root", root, "-y")
    assert [(hook["name"], hook["exit"]) for hook in done["hooks"]] == [("post-rebuild/10-look", 0)]


# Until it is let go, its root is removed, or a minute is over.
WAIT = (
    ": > /waits; n=0; while test -e /waits && ! test -e /go && test $((n += 1)) -lt 600; do sleep 0.1; done"
)


def rehearse(near: Pacha, web1: Machine, base: Path, *more: str) -> subprocess.CompletedProcess[str]:
    argv = near.argv("rebuild", "web1", "--from", web1.pacha.store, "--rehearse", "--base", base, *more)
    return subprocess.run([*argv, "--json"], env=near.environment(), capture_output=True, text=True)


def test_everything_would_come_back(web1: Machine, pacha: Pacha, tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "etc").mkdir(parents=True)
    (base / "etc/extra").write_text("x\n")
    save_twin(base, tmp_path / "twin")
    archive = tmp_path / "base.tar.gz"
    subprocess.run(["tar", "-czf", archive, "-C", base, "."], check=True)
    for fresh in (base, archive):
        done = rehearse(pacha, web1, fresh)
        assert done.returncode == 0, done
        assert '"score": 100.0' in done.stdout and '"short": []' in done.stdout
    assert compare(tmp_path / "twin", base) == []
    assert not (pacha.state / "rehearsal").exists()
    assert not pacha.store.exists()


def test_what_would_not_is_named(web1: Machine, pacha: Pacha, tmp_path: Path) -> None:
    (web1.root / "etc/huge").write_bytes(b"\0" * 20_000_000)
    web1.pacha.ok("capture")
    (tmp_path / "base").mkdir()
    done = rehearse(pacha, web1, tmp_path / "base", "--threshold", "99")
    assert done.returncode == 4, done
    assert '{"what": "/etc/huge", "reason": "its content is not in the store' in done.stdout


def test_a_base_that_is_none(web1: Machine, pacha: Pacha, tmp_path: Path) -> None:
    assert rehearse(pacha, web1, tmp_path / "nowhere").returncode == 2
    assert not (pacha.state / "rehearsal").exists()


def immutable_there(web1: Machine, base: Path) -> None:
    """The host has an immutable file and an immutable directory with one in it."""
    base.mkdir()
    web1.write({"/etc/locked/inside": "x\n"})
    held = [web1.root / "etc/hosts", web1.root / "etc/locked/inside", web1.root / "etc/locked"]
    subprocess.run(["chattr", "+i", *held], check=True)
    web1.pacha.ok("capture")
    subprocess.run(["chattr", "-i", *held], check=True)


def test_immutable_files_go_with_the_root(web1: Machine, pacha: Pacha, tmp_path: Path) -> None:
    immutable_there(web1, tmp_path / "base")
    done = rehearse(pacha, web1, tmp_path / "base")
    assert done.returncode == 0 and '"score": 100.0' in done.stdout, done
    assert not (pacha.state / "rehearsal").exists()


def begun(near: Pacha, web1: Machine, base: Path, known: set[Path]) -> tuple[subprocess.Popen[str], Path]:
    """A rehearsal that has come to a hook that waits, and its folder: none of those that are known."""
    words = ("--from", web1.pacha.store, "--rehearse", "--base", base, "--json")
    process = near.start("rebuild", "web1", *words)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = {path.parent.parent for path in (near.state / "rehearsal").glob("*/root/waits")} - known
        if found:
            return process, found.pop()
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("it never came to its hook")


def test_two_at_once_leave_each_other_alone(tmp_path: Path, pacha: Pacha) -> None:
    web1, base = with_hooks(tmp_path / "web1", {"check/10-wait": WAIT}), small_system(tmp_path / "base")
    one, first = begun(pacha, web1, base, set())
    two, second = begun(pacha, web1, base, {first})
    assert "killed has left" not in pacha.run("doctor").out
    for process, folder in ((one, first), (two, second)):
        (folder / "root" / "go").touch()
        result = pacha.finish(process)
        assert result.code == 0 and result.json["short"] == [], result
        assert not folder.exists()
    assert not (pacha.state / "rehearsal").exists()


def test_what_a_killed_one_has_left_goes_with_the_next(tmp_path: Path, pacha: Pacha) -> None:
    web1 = with_hooks(tmp_path / "web1", {"post-rebuild/10-wait": WAIT})
    base = small_system(tmp_path / "base")
    process, folder = begun(pacha, web1, base, set())
    kill(process, GROUP)
    pacha.finish(process)
    held = [folder / "root/etc/hosts", folder / "root/etc"]
    subprocess.run(["chattr", "+i", *held], check=True)
    assert f"a rehearsal that was killed has left {folder}" in pacha.run("doctor").out
    assert rehearse(pacha, web1, tmp_path / "nowhere").returncode == 2
    assert not (pacha.state / "rehearsal").exists()
    assert "killed has left" not in pacha.run("doctor").out


@pytest.mark.soak
@pytest.mark.timeout(DAY)
@pytest.mark.skipif(bool(debian.why_not()), reason=debian.why_not() or "-")
def test_a_debian_would_come_back(tmp_path: Path) -> None:
    """Check hooks run inside, and know that it is a rehearsal."""
    pacha, root = captured(tmp_path)
    hook = root / "etc/pacha/hooks/check/10-sshd"
    hook.parent.mkdir()
    hook.write_text(
        '#!/bin/sh\ntest "$PACHA_REHEARSAL" = 1 || exit 1\ntest ! -x /usr/sbin/sshd || nginx -t\n'
    )
    hook.chmod(0o755)
    pacha.ok("capture")
    near = Pacha.at(tmp_path / "near")
    words = ("--from", pacha.state, "--rehearse", "--base", debian.base(), "--json")
    argv = near.argv("rebuild", "shop1", *words)
    result = subprocess.run(argv, env=near.environment(), capture_output=True, text=True)
    assert result.returncode == 0, result
    told = json.loads(result.stdout)
    assert (told["score"], told["short"]) == (100.0, [])
    assert [h["name"] for h in told["hooks"]].count("check/10-sshd") == 2
