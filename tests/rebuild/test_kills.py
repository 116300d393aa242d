"""kill -9 at random instants of a rebuild: the same command again ends in the same tree."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from tests import needs
from tests.faults.kill import VICTIMS, kill
from tests.faults.shares import shares
from tests.oracle import compare
from tests.plainhg import StoreCopy
from tests.rebuild.machines import Machine

pytestmark = [needs.root, needs.tools, pytest.mark.fault]


def machine(place: Path, count: int) -> Machine:
    """What is to be rebuilt: some files, of accounts that have other numbers on the fresh machine."""
    web1 = Machine(place, "web1", {f"/etc/d{n % 7}/f{n}": f"{n}\n" * 50 for n in range(count)})
    web1.accounts(users={"shop": 2001, "mail": 2002})
    for n in range(0, count, 3):
        os.chown(web1.root / f"etc/d{n % 7}/f{n}", 2001, 2002)
    web1.pacha.ok("watch", "/etc")
    return web1


def freshly(place: Path) -> Machine:
    """The fresh machine, as it was."""
    shutil.rmtree(place, ignore_errors=True)
    fresh = Machine(place, None, {f"/etc/old{n}": "old\n" for n in range(20)})
    fresh.accounts(users={"shop": 2002, "mail": 2001})
    fresh.write({f"/var/s{n}": "s\n" for n in range(40)})
    for n in range(40):
        os.chown(fresh.root / f"var/s{n}", 2001 + n % 2, 0)
    return fresh


@pytest.mark.parametrize("kills", shares(4, 50))
def test_killed_rebuilds(tmp_path: Path, kills: int) -> None:
    web1 = machine(tmp_path / "web1", 150)
    done = freshly(tmp_path / "fresh").rebuilt(web1.pacha.store)
    choice = random.Random(kills)
    struck = 0
    for _ in range(kills):
        fresh = freshly(tmp_path / "fresh")
        process = fresh.pacha.start("rebuild", "--from", web1.pacha.store, "-y", "--json")
        try:
            process.wait(choice.uniform(0.2, done["seconds"] + 0.4))
        except Exception:  # noqa: BLE001 - it still runs
            struck += 1
        kill(process, choice.choice(VICTIMS))
        fresh.pacha.finish(process)
        fresh.rebuilt(web1.pacha.store)
        assert compare(web1.root / "etc", fresh.root / "etc") == []
        owners = {os.stat(fresh.root / f"var/s{n}").st_uid for n in range(0, 40, 2)}
        assert owners == {2002}, "what mail owned follows its number, once"
        again = fresh.rebuilt(web1.pacha.store)
        assert (again["revision"], again["steps"], again["hooks"]) == (None, [], [])
        assert StoreCopy(fresh.pacha.store, tmp_path / "copy").complaints() == []
    assert struck, "no kill met a running rebuild"
