"""Secrets on a machine that becomes another host: they come back with a recovery key, and stay secret."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests import needs
from tests.agekeys import Key, age_key
from tests.leaks import leaks
from tests.rebuild.machines import Machine

pytestmark = [needs.root]

WORD, OTHER = "plain-7c1f-correct-horse", "plain-93aa-battery-staple"


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return age_key(tmp_path / "recovery")


@pytest.fixture
def source(tmp_path: Path, key: Key) -> Path:
    """The store of a host that is gone, its own key with it."""
    machine = Machine(tmp_path / "web1", "web1", {"/etc/shadow": f"{WORD}\n", "/etc/hosts": "web1\n"})
    keys = json.dumps([key.public, age_key(tmp_path / "second").public])
    with machine.pacha.config.open("a") as file:
        file.write(f'[secrets]\npaths = ["/etc/shadow*"]\nrecipients = {keys}\n')
    machine.pacha.ok("watch", "/etc")
    shutil.move(machine.pacha.store, tmp_path / "kept")
    shutil.rmtree(machine.place)
    return tmp_path / "kept"


def test_they_come_back_and_stay_secret(source: Path, key: Key, tmp_path: Path) -> None:
    fresh = Machine(tmp_path / "fresh", None, {"/etc/shadow": f"{OTHER}\n"})
    done = fresh.rebuilt(source, "--identity", str(key.file))
    assert fresh.read("/etc/shadow") == f"{WORD}\n"
    assert fresh.read("/etc/hosts") == "web1\n"
    needles = [WORD.encode(), OTHER.encode()]
    assert leaks([fresh.pacha.state], needles) == []
    assert fresh.pacha.run("cat", "/etc/shadow").out == f"{WORD}\n"
    assert fresh.pacha.run("cat", "/etc/shadow", "--at", done["before"]).out == f"{OTHER}\n"
    # The configuration was no part of the history: what is secret is known from it all the same.
    assert "/etc/shadow*" in fresh.pacha.config.read_text()
    fresh.write({"/etc/shadow": f"{WORD}\n{OTHER}\n"})
    fresh.pacha.ok("capture")
    assert leaks([fresh.pacha.state], needles) == []
    again = fresh.pacha.run("rollback", "/etc/shadow", "--to", done["revision"], "-y", "--json")
    assert again.code == 0 and fresh.read("/etc/shadow") == f"{WORD}\n"


def test_without_a_key_the_rest_comes_back(source: Path, key: Key, tmp_path: Path) -> None:
    fresh = Machine(tmp_path / "fresh", None)
    plan = fresh.pacha.run("rebuild", "--from", source, "-n", "--json")
    assert plan.code == 3 and "encrypted for" in plan.out
    done = fresh.rebuild(source)
    assert done.code == 3
    assert fresh.read("/etc/hosts") == "web1\n" and not fresh.has("/etc/shadow")
    (refused,) = [step for step in done.json["steps"] if not step["ok"]]
    assert refused["path"] == "/etc/shadow" and key.public[:16] in refused["reason"]
    fresh.rebuilt(source, "--identity", str(key.file))
    assert fresh.read("/etc/shadow") == f"{WORD}\n"
