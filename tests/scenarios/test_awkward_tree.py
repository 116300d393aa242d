"""The awkward tree goes through watch, wreck and rollback, and comes back exactly, by the oracle's word."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.command import Pacha
from tests.oracle import compare, save_twin
from tests.oracle.twin import clear_flags
from tests.plainhg import StoreCopy
from tests.trees import build, wreck

from tests import needs, unprivileged

pytestmark = needs.tools

SEEDS = range(4)
SOAK_SEEDS = range(4, 64)


def prepare(arena: Path) -> tuple[Path, Path]:
    """The awkward tree, and an outside folder that symlinks of the wrecked tree will point to."""
    build(arena / "live", flags=needs.AM_ROOT)
    (arena / "outside").mkdir()
    (arena / "outside" / "untouched").write_bytes(b"not Pacha's business\n")
    save_twin(arena / "outside", arena / "outside twin")
    return arena / "live", arena / "twin"


def same(twin: Path, live: Path) -> None:
    """The oracle has nothing to say."""
    differences = compare(twin, live)
    assert not differences, "\n".join(differences)


def comes_back(pacha: Pacha, arena: Path, damage: Callable[[], object]) -> None:
    """Watch, save, damage, roll back; then nothing may differ, inside or outside."""
    live, twin = arena / "live", arena / "twin"
    first = pacha.ok("watch", live)
    assert first["skipped"] == []
    assert first["revision"]
    save_twin(live, twin)
    damage()
    result = pacha.run("rollback", live, "--to", first["revision"], "-y", "--json")
    assert [step for step in result.json["steps"] if not step["ok"]] == []
    assert result.code == 0, result
    same(twin, live)
    same(arena / "outside twin", arena / "outside")


@pytest.mark.parametrize(
    "seed", [*SEEDS, *[pytest.param(seed, marks=pytest.mark.soak) for seed in SOAK_SEEDS]]
)
def test_a_wrecked_tree_comes_back(pacha: Pacha, arena: Path, seed: int) -> None:
    live, _ = prepare(arena)
    comes_back(pacha, arena, lambda: wreck(live, seed))
    assert pacha.ok("status")["pending"] == []


def test_a_tree_that_is_gone_comes_back(pacha: Pacha, arena: Path) -> None:
    live, _ = prepare(arena)

    def remove() -> None:
        clear_flags(live)
        shutil.rmtree(live)

    comes_back(pacha, arena, remove)


def test_rolling_back_and_forth_keeps_both_states(pacha: Pacha, arena: Path) -> None:
    live, _ = prepare(arena)
    comes_back(pacha, arena, lambda: wreck_and_save(pacha, live, arena))
    clear_flags(live)
    pacha.ok("rollback", live, "--to", (arena / "wrecked revision").read_text(), "-y")
    differences = [line for line in compare(arena / "wrecked", live) if not only_in_time(line)]
    assert not differences, "\n".join(differences)


def only_in_time(difference: str) -> bool:
    """Whether only the time of an entry differs: where nothing else changed, that is rightly not recorded."""
    if difference.startswith("rsync: "):
        return re.match(r"rsync: \.[fLDS]\.\.t\.* ", difference) is not None
    sides = re.fullmatch(r".*: was \[(.*)\], is \[(.*)\]", re.sub(r"mtime=[-0-9.]+", "", difference))
    return sides is not None and sides[1] == sides[2]


def wreck_and_save(pacha: Pacha, live: Path, arena: Path) -> None:
    """Wreck the tree, record that state, and keep a twin of it."""
    wreck(live, 11)
    (arena / "wrecked revision").write_text(pacha.ok("capture")["revision"])
    save_twin(live, arena / "wrecked")


def test_nothing_changed_means_no_revision(pacha: Pacha, arena: Path) -> None:
    live, _ = prepare(arena)
    pacha.ok("watch", live)
    again = pacha.ok("capture")
    assert (again["revision"], again["changed"]) == (None, [])
    assert pacha.ok("rollback", live, "--to", latest(pacha)["id"], "-y")["steps"] == []


def test_a_dry_run_changes_nothing(pacha: Pacha, arena: Path) -> None:
    live, twin = prepare(arena)
    first = pacha.ok("watch", live)["revision"]
    wreck(live, 5)
    save_twin(live, twin)
    planned = pacha.ok("rollback", live, "--to", first, "-n")
    assert planned["steps"]
    same(twin, live)
    done = pacha.ok("rollback", live, "--to", first, "-y")
    assert [said(step) for step in planned["steps"]] == [said(step) for step in done["steps"]]


def test_plain_hg_reads_the_store(pacha: Pacha, arena: Path, tmp_path: Path) -> None:
    live, _ = prepare(arena)
    pacha.ok("watch", live)
    copy = StoreCopy(pacha.store, tmp_path / "copy")
    assert copy.complaints() == []
    stored = f"files{live / 'contents' / 'crlf'}"
    assert copy.hg("cat", "-r", "tip", str(copy.path / stored)) == b"a\r\nb\r\n"


@needs.root
def test_what_is_immutable_now_is_reported_and_the_rest_goes_on(pacha: Pacha, arena: Path) -> None:
    live, twin = prepare(arena)
    first = pacha.ok("watch", live)["revision"]
    save_twin(live, twin)
    stuck = live / "contents" / "one"
    stuck.write_bytes(b"edited, then locked\n")
    subprocess.run(["chattr", "+i", str(stuck)], check=True)
    (live / "contents" / "crlf").unlink()
    result = pacha.run("rollback", live, "--to", first, "-y", "--json")
    assert result.code == 3, result
    failed = [step for step in result.json["steps"] if not step["ok"]]
    assert [step["path"] for step in failed] == [str(stuck)]
    assert all(step["reason"] for step in failed)
    assert stuck.read_bytes() == b"edited, then locked\n"
    subprocess.run(["chattr", "-i", str(stuck)], check=True)
    pacha.ok("rollback", live, "--to", first, "-y")
    same(twin, live)


@needs.root
@pytest.mark.parametrize("seed", [1, 2])
def test_an_ordinary_user_gets_the_same(open_arena: Path, seed: int) -> None:
    python = unprivileged.interpreter(open_arena)
    if python is None:
        pytest.skip("no Python of this version that other users may run")
    arena = open_arena / "arena"
    arena.mkdir()
    os.chown(arena, unprivileged.USER, unprivileged.USER)
    pacha = Pacha.at(open_arena / "pacha", interpreter=python, user=unprivileged.USER)
    unprivileged.as_user(lambda: build(arena / "live"))
    (arena / "outside").mkdir()
    save_twin(arena / "outside", arena / "outside twin")
    comes_back(pacha, arena, lambda: unprivileged.as_user(lambda: wreck(arena / "live", seed)))


def latest(pacha: Pacha) -> dict[str, Any]:
    """The newest revision."""
    newest: dict[str, Any] = pacha.ok("log", "-n", "1")["revisions"][0]
    return newest


def said(step: dict[str, Any]) -> tuple[Any, ...]:
    """What a plan says of a step, without how it went."""
    return step["action"], step.get("path"), step.get("path_b64")
