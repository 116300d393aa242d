"""The builders keep their word: the tree can be built, copied, wrecked and wiped, the same way each time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import needs
from tests.oracle import compare, save_twin, wipe
from tests.trees import build, names, wreck

pytestmark = needs.tools


def test_no_name_is_meant_to_be_ignored() -> None:
    assert not [name for name in names.FILES + names.FOLDERS if len(name) > 1 and name.endswith(b"~")]
    assert len(set(names.FILES)) == len(names.FILES)
    assert len(set(names.FOLDERS)) == len(names.FOLDERS)


@pytest.mark.parametrize("flags", [False, pytest.param(True, marks=needs.root)])
def test_a_built_tree_has_an_exact_twin(arena: Path, flags: bool) -> None:
    build(arena / "live", flags=flags)
    save_twin(arena / "live", arena / "twin")
    assert compare(arena / "twin", arena / "live") == []


@pytest.mark.parametrize("seed", range(4))
def test_wrecking_does_harm_and_is_repeatable(arena: Path, seed: int) -> None:
    build(arena / "live")
    save_twin(arena / "live", arena / "twin")
    save_twin(arena / "live", arena / "second")
    assert wreck(arena / "live", seed) > 50
    assert len(compare(arena / "twin", arena / "live")) > 50
    wreck(arena / "second", seed)
    assert listing(arena / "second") == listing(arena / "live")


def test_wiping_leaves_nothing(arena: Path) -> None:
    build(arena / "live", flags=os.geteuid() == 0)
    wreck(arena / "live", 1)
    wipe(arena / "live")
    assert not (arena / "live").exists()


def listing(tree: Path) -> list[tuple[str, list[str], list[str]]]:
    """All names in the tree."""
    return sorted(
        (os.path.relpath(at, tree), sorted(dirs), sorted(files)) for at, dirs, files in os.walk(tree)
    )
