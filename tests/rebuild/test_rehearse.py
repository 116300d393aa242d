"""Rehearsals: what would come back, told without touching anything."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests import needs
from tests.command import Pacha
from tests.faults.shares import DAY
from tests.oracle import compare, save_twin
from tests.rebuild import debian
from tests.rebuild.machines import Machine
from tests.rebuild.test_debian import captured

pytestmark = [needs.root, needs.tools]


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
